"""Who has what on devices that tell, and on those that do not."""

import os
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from llama_swap.gpu import Device, ProcessUse
from llama_swap.gpu.holdings import (
    Holding,
    MemoryReading,
    divide,
    is_whole_machine,
    listed_with_others,
    process_exists,
    speaks_of_us,
)


def card(*processes, index=0):
    """A device with these (pid, bytes)."""
    return Device(index, "card", processes=tuple(ProcessUse(pid, used) for pid, used in processes))


def test_a_model_is_all_of_its_processes():
    """A vLLM has one process for each device and one above; others are nobody's."""
    devices = [card((10, 5), (99, 7)), card((11, 3), index=1)]
    assert divide(devices, {1: {9, 10, 11}, 2: {20}}) == {1: {0: 5, 1: 3}, 2: {0: 0, 1: 0}}


def test_a_device_that_does_not_tell_is_missing():
    """No list, or a process of ours without a figure (a vGPU): unknown for everybody, never zero."""
    mute = Device(1, "mute")
    assert divide([card((10, None)), mute], {1: {10}, 2: {20}}) == {1: {}, 2: {}}
    assert divide([card((10, 4), (99, None))], {1: {10}}) == {1: {0: 4}}, "a stranger may stay unknown"


def test_more_than_there_is_was_never_taken():
    """NVML of some drivers mixes up the fields of a process: then it is as if it did not tell."""
    whole = Device(
        0, "card", total_bytes=24, processes=(ProcessUse(10, 24), ProcessUse(11, 3), ProcessUse(99, 1 << 50))
    )
    assert divide([whole], {1: {10}, 2: {11}}) == {1: {0: 24}, 2: {0: 3}}
    assert divide([whole], {1: {10, 11}, 2: {20}}) == {1: {}, 2: {}}
    assert divide([whole], {1: {99}}) == {1: {}}
    assert divide([whole], {}) == {}


def test_what_others_are_listed_with():
    """The living; unknown where one is listed without a figure, or with more than there is."""
    whole = replace(card((10, 5), (60, 3), (61, 4), (5000, 9)), total_bytes=24)
    for devices, ours, listed in (
        ([whole, Device(1, "mute")], {10}, {0: 7}),
        ([whole], set(), {0: 12}),
        ([card()], {10}, {0: 0}),
        ([card((10, None), (5000, None), (60, 3))], {10}, {0: 3}),
        ([card((60, None), (61, 3))], set(), {}),
        ([replace(whole, total_bytes=6)], {10}, {}),
    ):
        assert listed_with_others(devices, ours, exists=lambda pid: pid < 100) == listed


def test_whether_a_reading_tells_who_has_what():
    """Asked by device; a device without a list never does."""
    known, unknown = Holding(device_bytes={0: 1}), Holding()
    assert MemoryReading(0.0, None, holdings={1: known}).is_attributed(card())
    assert MemoryReading(0.0, None).is_attributed(card())
    assert not MemoryReading(0.0, None, holdings={1: known, 2: unknown}).is_attributed(card())
    assert not MemoryReading(0.0, None).is_attributed(Device(0, "mute"))


def test_process_ids_of_another_world():
    """Inside a container the driver may list IDs of the machine around it, or none at all."""

    def exists(pid):
        return pid < 100

    assert speaks_of_us(card((50, 1)), ours=[], exists=exists)
    assert speaks_of_us(card((50, 1), (5000, 1)), ours=[50], exists=exists), "one that is ours is proof"
    assert not speaks_of_us(card((50, 1), (5000, 1)), ours=[60], exists=exists)
    assert not speaks_of_us(card(), ours=[60], exists=exists)


def test_processes_that_exist():
    """This one does, the first one does though it is not ours, and none has the largest number."""
    assert process_exists(os.getpid())
    assert process_exists(1)
    assert not process_exists(2**22 + 1)
    assert is_whole_machine() in (True, False)


_PIDS = st.integers(1, 12)


@given(
    st.lists(st.dictionaries(_PIDS, st.none() | st.integers(0, 100), max_size=8), max_size=3),
    st.dictionaries(st.integers(1, 3), st.frozensets(_PIDS, max_size=4), max_size=3),
)
def test_nothing_is_counted_that_the_driver_does_not_say(lists, families):
    """Each share is what the driver lists for that family, and a device is known for all or for none."""
    families = {i: pids.difference(*(families[j] for j in families if j < i)) for i, pids in families.items()}
    devices = [card(*uses.items(), index=index) for index, uses in enumerate(lists)]
    shares = divide(devices, families)
    assert shares.keys() == families.keys()
    for index, uses in enumerate(lists):
        known = [share[index] for share in shares.values() if index in share]
        assert len(known) in (0, len(families))
        if known:
            assert sum(known) == sum(uses[pid] for pids in families.values() for pid in pids if pid in uses)
