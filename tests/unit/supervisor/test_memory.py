"""Readings become pools: who holds what, what others use, and what is left out because it is not known."""

from dataclasses import replace

import pytest

from llama_swap.gpu import Device, Holding, HostMemory, MemoryKind, MemoryReading, ProcessMemory, ProcessUse
from llama_swap.scheduler.memory import HOST
from llama_swap.supervisor.memory import (
    cuda_devices,
    device_use,
    host_use,
    measured,
    pool_of,
    room_of,
    seen_by_children,
    use_by_others,
)

GIB = 1 << 30
UUID = "GPU-aaaa"


def card(index=0, **changes):
    """An NVIDIA card of 24 GiB with half a GiB for the driver, 10 GiB used, whose driver tells processes."""
    known = {
        "uuid": f"{UUID}{index}",
        "vendor": "NVIDIA",
        "total_bytes": 24 * GIB,
        "used_bytes": 10 * GIB,
        "free_bytes": 13 * GIB,
        "processes": (ProcessUse(1, GIB),),
    }
    return Device(index, "RTX", **{**known, **changes})


def holding(held=0, resident=0, **devices):
    """GiB of an instance: of the machine held and resident, and by device (``gpu0=4``)."""
    shares = {int(name.removeprefix("gpu")): int(gib * GIB) for name, gib in devices.items()}
    return Holding(ProcessMemory(held * GIB, resident * GIB), shares)


def reading(*devices, host=(64, 40), problem="", **holdings):
    """A reading; instances are named ``i1`` and so on."""
    memory = None if host is None else HostMemory(host[0] * GIB, host[1] * GIB)
    return MemoryReading(5.0, memory, devices, {int(n[1:]): h for n, h in holdings.items()}, problem)


def test_a_card_with_two_models_and_a_game():
    """What others use is used minus ours; the driver's own part is in none of them, and not in the whole."""
    event = measured(reading(card(), i1=holding(gpu0=4), i2=holding(gpu0=3)))
    host, pool = event.pools
    assert (event.at, event.has_devices, event.problem) == (5.0, True, "")
    assert (pool.pool, pool.label, pool.index) == ("GPU-aaaa0", "GPU 0 (RTX)", 0)
    assert (pool.total_bytes, pool.free_bytes) == (23 * GIB, 13 * GIB)
    assert pool.held == {1: 4 * GIB, 2: 3 * GIB}
    assert pool.foreign_bytes == 3 * GIB
    assert (host.pool, host.index, host.total_bytes, host.free_bytes) == (HOST, None, 64 * GIB, 40 * GIB)


def test_what_others_are_listed_with():
    """As it was read, device by device; nothing is made up where nothing is known."""
    one = replace(reading(card(), card(1), i1=holding(gpu0=4, gpu1=0)), others={0: 3 * GIB})
    assert [pool.listed_bytes for pool in measured(one).pools] == [None, 3 * GIB, None]


def test_the_file_that_a_model_maps_counts_where_it_computes():
    """On the CPU it is needed again although it counts as free; behind a GPU it was only read on the way."""
    event = measured(reading(card(), i1=holding(2, 20, gpu0=0), i2=holding(1, 20, gpu0=8)))
    assert event.pools[0].held == {1: 2 * GIB, 2: 1 * GIB}
    assert event.pools[0].footprints == {1: 20 * GIB}
    assert event.pools[0].foreign_bytes == (24 - 3) * GIB


def test_a_machine_without_devices():
    """Only the host, and the reason of the driver."""
    event = measured(reading(problem="no driver", i1=holding(2, 20)))
    assert [pool.pool for pool in event.pools] == [HOST]
    assert (event.has_devices, event.problem) == (False, "no driver")
    assert event.pools[0].footprints == {1: 20 * GIB}


def test_a_device_in_the_memory_of_the_machine():
    """GB10: no pool of its own; what its processes have there is the machine's."""
    chip = card(memory_kind=MemoryKind.UNIFIED, total_bytes=None, free_bytes=None, used_bytes=None)
    event = measured(reading(chip, i1=holding(2, 3, gpu0=30)))
    assert [pool.pool for pool in event.pools] == [HOST]
    assert event.has_devices
    assert event.pools[0].held == {1: 32 * GIB}
    assert event.pools[0].footprints == {1: 33 * GIB}
    assert device_use(reading(chip, i1=holding(gpu0=30)), 1) == {}


def test_a_driver_that_does_not_tell_who_has_what():
    """Nobody is said to hold anything, and nobody to be foreign; then mapped files are not guessed at either."""
    amd = card(uuid="6f2c", vendor="AMD", processes=None)
    event = measured(reading(amd, i1=holding(1, 20)))
    pool = event.pools[1]
    assert (pool.pool, pool.held, pool.foreign_bytes) == ("gpu0", None, None)
    assert not event.has_devices, "only NVML is relied on unasked"
    assert event.pools[0].footprints == {}


def test_a_lost_card():
    """No pool, and its problem; the others go on."""
    lost = Device(1, "RTX", vendor="NVIDIA", problem="GPU is lost")
    event = measured(reading(card(), lost, i1=holding(gpu0=4)))
    assert [pool.pool for pool in event.pools] == [HOST, "GPU-aaaa0"]
    assert event.problem == "GPU 1: GPU is lost"
    assert not measured(reading(lost)).has_devices


def test_a_hidden_machine():
    """Without /proc/meminfo there is no pool of the machine, and that is said."""
    event = measured(reading(card(), host=None))
    assert [pool.pool for pool in event.pools] == ["GPU-aaaa0"]
    assert "hidden" in event.problem


@pytest.mark.parametrize(
    ("devices", "gib"),
    [(None, 46), (("*",), 46), (("0",), 23), ((f"{UUID}1", "0"), 46), ((UUID,), 46), ((), None), (("7",), None)],
)
def test_room_of_the_devices_that_a_command_names(devices, gib):
    """By number, UUID or its beginning; none at all is not known."""
    event = measured(reading(card(), card(1)))
    assert room_of(event, devices) == (gib and gib * GIB)


def test_use_of_an_instance():
    """By pool, as it is learned; one that nobody knows has nothing."""
    both = reading(card(), card(1), i1=holding(2, 20, gpu0=4, gpu1=1))
    assert device_use(both, 1) == {"GPU-aaaa0": 4 * GIB, "GPU-aaaa1": GIB}
    assert device_use(both, 9) == {}
    assert host_use(both, 1).needed_bytes == 2 * GIB
    assert host_use(both, 9).needed_bytes == 0


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        (None, [0, 1]),
        ("0,1", [0, 1]),
        ("1", [1]),
        (f"{UUID}1", [1]),
        (UUID, [0, 1]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_devices_that_are_hidden_from_our_processes(visible, seen):
    """A unit with CUDA_VISIBLE_DEVICES: what children cannot use is no place for models. Other makers stay."""
    sees = seen_by_children(visible)
    assert [index for index in (0, 1) if sees(card(index))] == seen
    assert sees(card(vendor="AMD"))
    assert len(measured(reading(card(), card(1)), sees).pools) == 1 + len(seen)


def test_names_of_pools():
    """What CUDA_VISIBLE_DEVICES understands is a name, anything else would hide all."""
    assert pool_of(card(uuid="MIG-1")) == "MIG-1"
    assert pool_of(card(uuid="")) == pool_of(card(uuid="6f2c")) == "gpu0"
    assert cuda_devices(["GPU-1", "MIG-2"]) == "GPU-1,MIG-2"
    assert cuda_devices(["GPU-1", "gpu1"]) == cuda_devices([]) == ""


def test_hidden_instances_are_named_in_each_pool():
    """Nothing else changes: what they have is what others use."""
    seen, hidden = (measured(reading(card(), i1=holding(gpu0=0)), hidden=ids) for ids in ((), (1,)))
    assert [pool.hidden for pool in hidden.pools] == [frozenset({1})] * 2
    assert [pool.hidden for pool in seen.pools] == [frozenset()] * 2
    assert [pool.foreign_bytes for pool in hidden.pools] == [pool.foreign_bytes for pool in seen.pools]


def test_use_by_others():
    """Over all devices with memory of their own, whether or not the driver says whose it is."""
    assert use_by_others(reading(card(), card(1, processes=None), i1=holding(gpu0=4))) == 16 * GIB
    assert use_by_others(reading(card(used_bytes=None), i1=holding(gpu0=4))) == 7 * GIB
    assert use_by_others(reading(card(total_bytes=None, used_bytes=None, problem="lost"))) == 0
    assert use_by_others(reading(card(memory_kind=MemoryKind.UNIFIED))) is None
    assert use_by_others(reading()) is None
