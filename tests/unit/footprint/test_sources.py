"""A need from each source."""

from dataclasses import replace

import pytest

from llama_swap.footprint.estimate import DEVICE_CONTEXT_BYTES, PROGRAM_BYTES, Part
from llama_swap.footprint.facts import ModelFacts
from llama_swap.footprint.files import read_invocation
from llama_swap.footprint.learned import AskedDevice, Learned, Peak
from llama_swap.footprint.memory_use import Split
from llama_swap.footprint.sources import (
    adaptable,
    down_to,
    from_asked,
    from_declared,
    from_learned,
    on_named_devices,
    with_declared_host,
    with_floor,
)
from llama_swap.scheduler.memory import Need, NeedSource

GIB = 1 << 30
MIB = 1 << 20
CONTEXT = DEVICE_CONTEXT_BYTES


def facts(devices=None, **declared):
    """A model on these devices."""
    return ModelFacts("m", ("llama-server",), devices=devices, **declared)


def learned(*peaks, host=0):
    """Figures of runs on so many devices."""
    return Learned(peaks={str(len(peak)): Peak(sum(peak.values()), peak) for peak in peaks}, host_bytes=host)


def test_a_peak_on_one_device_holds_on_any():
    """Which one it was does not bind the next start."""
    need = from_learned(facts(), learned({"A": 9}, host=2))
    assert (need.source, need.device_bytes, need.host_bytes, need.by_device) == (NeedSource.LEARNED, 9, 2, {})
    assert need.per_device_bytes == CONTEXT
    assert sum(size for _, size in need.parts) == 11


def test_a_peak_on_two_devices_is_less_on_one():
    """By what each device costs on its own."""
    assert from_learned(facts(), learned({"A": 5 * GIB, "B": 5 * GIB})).device_bytes == 10 * GIB - CONTEXT


def test_what_a_further_device_costs_is_learned():
    """From runs with and without it."""
    need = from_learned(facts(), learned({"A": 9 * GIB}, {"A": 5 * GIB, "B": 5 * GIB}))
    assert (need.device_bytes, need.per_device_bytes) == (9 * GIB, GIB)


@pytest.mark.parametrize(
    ("devices", "expected"),
    [(("A", "B"), {"A": 5, "B": 6}), (("A",), {"C": 9}), (("*",), {"A": 5, "B": 6})],
)
def test_a_command_that_names_its_devices_divides_itself(devices, expected):
    """As it did before on as many."""
    need = from_learned(facts(devices), learned({"C": 9}, {"A": 5, "B": 6}))
    assert need.by_device == expected
    assert need.device_bytes == sum(expected.values())


def test_a_model_on_the_cpu_has_only_the_hosts_peak():
    """And no device."""
    need = from_learned(facts(()), learned(host=7))
    assert (need.device_bytes, need.host_bytes) == (0, 7)


def test_what_is_declared_holds():
    """What is not, comes from the estimate."""
    guess = Need(NeedSource.ESTIMATED, 50, 7, per_device_bytes=3)
    need = from_declared(facts(vram_bytes=18), guess)
    assert (need.source, need.device_bytes, need.host_bytes, need.per_device_bytes) == (NeedSource.DECLARED, 18, 7, 3)
    need = from_declared(facts(vram_by_device={"0": 4, "1": 5}, ram_bytes=2), None)
    assert (need.device_bytes, need.host_bytes, need.by_device) == (9, 2, {"0": 4, "1": 5})
    assert from_declared(facts(vram_bytes=0, ram_bytes=2), guess).per_device_bytes == 0
    assert sum(size for _, size in need.parts) == 11


def test_memory_of_the_machine_that_is_declared_alone():
    """It takes the place of what was worked out for the host, and of nothing else."""
    guess = Need(NeedSource.ESTIMATED, 50, 7, parts=(("weights", 30), ("scratch", 20), ("scratch on the host", 7)))
    need = with_declared_host(facts(ram_bytes=9), guess)
    assert (need.source, need.device_bytes, need.host_bytes) == (NeedSource.ESTIMATED, 50, 9)
    assert need.parts == (("weights", 30), ("scratch", 20), ("ram, declared", 9))
    assert with_declared_host(facts(ram_bytes=9), need) is need
    unknown = with_declared_host(facts(ram_bytes=9), Need(NeedSource.UNKNOWN, parts=(("no file", 0),)))
    assert (unknown.source, unknown.host_bytes, len(unknown.parts)) == (NeedSource.UNKNOWN, 9, 2)
    learnt = Need(NeedSource.LEARNED, 50, 7)
    assert with_declared_host(facts(ram_bytes=9), learnt) is learnt
    assert with_declared_host(facts(), guess) is guess


HOST = AskedDevice("Host", 300 * MIB, 10 * MIB, 20 * MIB)
CUDA0 = AskedDevice("CUDA0", 4 * GIB, GIB, 256 * MIB)
CUDA1 = AskedDevice("CUDA1", 2 * GIB, GIB, 128 * MIB)


@pytest.fixture
def invocation(tmp_path):
    """``invocation(*options)`` is a command that names a file."""
    path = tmp_path / "m.gguf"
    path.touch()
    return lambda *options: read_invocation(ModelFacts("m", ("llama-server", "-m", str(path), *options)))


def test_an_answer_of_llama_cpp(invocation):
    """Its sums, and what it does not count."""
    need = from_asked(facts(), invocation(), (CUDA0, HOST), [Part("multimodal projector", Split(GIB, 5 * MIB))])
    assert need.source is NeedSource.ASKED
    assert need.device_bytes == 6 * GIB + 256 * MIB + CONTEXT
    assert need.host_bytes == 35 * MIB + PROGRAM_BYTES
    assert need.per_device_bytes == CONTEXT + 256 * MIB
    assert sum(size for _, size in need.parts) == need.device_bytes + need.host_bytes
    assert dict(need.parts)["multimodal projector"] == GIB


def test_an_answer_without_a_device(invocation):
    """A build for the CPU."""
    need = from_asked(facts(), invocation(), (HOST,), [])
    assert (need.device_bytes, need.host_bytes) == (0, 330 * MIB + PROGRAM_BYTES)


def test_weights_that_are_used_on_the_host_count(invocation):
    """Where a part of the model stays there."""
    need = from_asked(facts(), invocation("-cmoe"), (CUDA0, HOST), [])
    assert need.host_bytes == 330 * MIB + PROGRAM_BYTES


def test_an_answer_for_named_devices_is_divided(invocation):
    """In the order in which the command names them; devices that get nothing cost nothing."""
    unused = AskedDevice("CUDA2", 0, 0, 0)
    need = from_asked(facts(("1", "0")), invocation(), (CUDA0, CUDA1, unused, HOST), [])
    assert need.by_device == {"1": CUDA0.total_bytes + CONTEXT, "0": CUDA1.total_bytes + CONTEXT}
    assert need.device_bytes == sum(need.by_device.values())


def test_a_figure_is_put_on_the_one_device_that_is_named():
    """Of several nobody knows the division."""
    need = Need(NeedSource.ESTIMATED, 5)
    assert on_named_devices(facts(("1",)), need).by_device == {"1": 5}
    for devices in (None, (), ("*",), ("0", "1")):
        assert on_named_devices(facts(devices), need) == need
    unknown = Need(NeedSource.UNKNOWN)
    assert on_named_devices(facts(("1",)), unknown) == unknown


WANTED = Need(NeedSource.ESTIMATED, 10 * GIB, per_device_bytes=GIB, parts=(("all", 10 * GIB),))


def test_a_server_that_adapts_gets_what_it_wants(invocation):
    """And what it leaves free besides; not what it once had to make do with."""
    squeezed = Need(NeedSource.LEARNED, 6 * GIB)
    need = adaptable(invocation(), WANTED, squeezed, 24 * GIB, 2 * GIB)
    assert (need.source, need.device_bytes, need.per_device_bytes) == (NeedSource.ESTIMATED, 11 * GIB, 2 * GIB)
    assert sum(size for _, size in need.parts) == need.device_bytes
    assert adaptable(invocation("-fitt", "0"), WANTED, None, None, 0).device_bytes == 10 * GIB


@pytest.mark.parametrize(("kept_mib", "margin_mib"), [(512, 512), (1024, 0), (6144, 0)])
def test_what_stays_free_anyway_is_not_planned_for_twice(invocation, kept_mib, margin_mib):
    """The GiB that llama-server leaves is a part of what nobody gets."""
    need = adaptable(invocation(), WANTED, None, 24 * GIB, 2 * GIB, kept_bytes=kept_mib << 20)
    assert need.device_bytes == 10 * GIB + (margin_mib << 20)
    assert ("left free by --fit" in dict(need.parts)) is bool(margin_mib)


def test_a_server_that_got_what_it_wanted_is_known(invocation):
    """Then what was learned is better than any figure from before."""
    seen = Need(NeedSource.LEARNED, 9 * GIB + GIB // 2, by_device={"A": 9 * GIB + GIB // 2})
    need = adaptable(invocation(), WANTED, seen, 24 * GIB, 2 * GIB)
    assert (need.source, need.device_bytes, need.least_bytes) == (NeedSource.LEARNED, 10 * GIB + GIB // 2, 2 * GIB)
    assert need.by_device == {"A": 10 * GIB + GIB // 2}


def test_a_server_that_wants_more_than_there_is_takes_what_it_gets(invocation):
    """So nothing is known before it ran, and what it then took is a wish."""
    need = adaptable(invocation(), WANTED, None, 8 * GIB, 2 * GIB)
    assert (need.source, need.least_bytes) == (NeedSource.UNKNOWN, 2 * GIB)
    assert need.parts == (("it wants more than there is and makes itself smaller to fit", 0),)
    seen = Need(NeedSource.LEARNED, 7 * GIB)
    assert adaptable(invocation(), WANTED, seen, 8 * GIB, 2 * GIB) == replace(seen, least_bytes=2 * GIB)


@pytest.mark.parametrize(("took", "source"), [(5.1, NeedSource.LEARNED), (4.9, NeedSource.UNKNOWN)])
def test_a_run_that_had_to_make_do_is_no_wish(invocation, took, source):
    """One of a server that wants more than there is, beside a game that had the rest: it wants all of it again."""
    seen = Need(NeedSource.LEARNED, int(took * GIB))
    assert adaptable(invocation(), WANTED, seen, 8 * GIB, 2 * GIB).source is source


@pytest.mark.parametrize("floor", [0, 13 * GIB])
def test_a_server_that_adapts_can_do_with_less(invocation, floor):
    """Whatever it wants, and whatever memory running out added to that."""
    need = with_floor(adaptable(invocation(), WANTED, None, 24 * GIB, 7 * GIB), Learned(floor_bytes=floor))
    assert (need.device_bytes, need.least_bytes) == (max(11 * GIB, floor), 7 * GIB)
    assert need.least.device_bytes == 11 * GIB


def test_the_least_is_no_more_than_the_wish(invocation):
    """Where it took less than was worked out to be the least."""
    assert adaptable(invocation(), WANTED, None, 24 * GIB, 20 * GIB).least_bytes == 11 * GIB
    assert down_to(3 * GIB, Need(NeedSource.DECLARED, by_device={"0": GIB, "1": GIB})).least_bytes == 2 * GIB
    assert down_to(3 * GIB, Need(NeedSource.DECLARED, 0, 5)).least_bytes is None


@pytest.mark.parametrize(("most", "source"), [(11.4, NeedSource.UNKNOWN), (11.7, NeedSource.ESTIMATED)])
def test_what_stays_free_belongs_to_what_it_wants(invocation, most, source):
    """A server that would just fit without it makes itself smaller."""
    assert adaptable(invocation(), WANTED, None, int(most * GIB), 0).source is source


def test_a_server_on_the_cpu_leaves_nothing_free_on_a_device(invocation):
    """There is no margin of none; what it was seen to take holds."""
    need = Need(NeedSource.ASKED, 0, 5)
    assert adaptable(invocation(), need, None, 8 * GIB, 2 * GIB) == need
    seen = Need(NeedSource.LEARNED, 0, 6)
    assert adaptable(invocation(), need, seen, 8 * GIB, 2 * GIB) == seen


def test_what_is_not_known_may_have_been_seen(invocation):
    """Learned figures are better than none."""
    unknown = Need(NeedSource.UNKNOWN)
    assert adaptable(invocation(), unknown, None, 8 * GIB, GIB) == unknown
    assert adaptable(invocation(), unknown, WANTED, 8 * GIB, GIB) == replace(WANTED, least_bytes=GIB)


def test_the_figure_that_was_seen_is_shown():
    """Of a split model the whole, not what is planned for one device."""
    need = from_learned(facts(), Learned(peaks={"2": Peak(30 * GIB, {"A": 20 * GIB, "B": 10 * GIB})}))
    assert need.device_bytes == 30 * GIB - CONTEXT
    assert need.parts[0] == ("the most it took, on 2 devices", 30 * GIB)
    alone = from_learned(facts(), Learned(peaks={"1": Peak(10 * GIB, {"A": 10 * GIB})}))
    assert alone.parts[0] == ("the most it took while it ran", alone.device_bytes)


def test_a_floor_lifts_a_need():
    """After memory ran out, in proportion on each device; an unknown need stays unknown."""
    need = with_floor(replace(WANTED, by_device={"A": 6 * GIB, "B": 4 * GIB}), Learned(floor_bytes=12 * GIB))
    assert (need.device_bytes, sum(size for _, size in need.parts)) == (12 * GIB, 12 * GIB)
    assert need.by_device["A"] == pytest.approx(7.2 * GIB, abs=2)
    assert (need.least.device_bytes, need.least.host_bytes) == (WANTED.device_bytes, WANTED.host_bytes)
    assert need.least.by_device["A"] == pytest.approx(6 * GIB, abs=2)
    assert WANTED.least is WANTED
    assert with_floor(WANTED, Learned(floor_bytes=9 * GIB)) == WANTED
    assert with_floor(WANTED, Learned(floor_host_bytes=3)).host_bytes == 3
    assert with_floor(Need(NeedSource.UNKNOWN), Learned(floor_bytes=5)) == Need(NeedSource.UNKNOWN, too_few_bytes=5)
    adapts = Need(NeedSource.UNKNOWN, least_bytes=3)
    assert with_floor(adapts, Learned(floor_bytes=5)) is adapts
