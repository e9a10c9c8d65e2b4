"""What is learned of a run: its peaks, how long it loaded, and that it had too little."""

from dataclasses import replace

import pytest

from llama_swap.footprint.learned import RunFigures
from llama_swap.gpu import Device, Holding, HostMemory, MemoryReading, ProcessMemory, ProcessUse
from llama_swap.scheduler.memory import Need, NeedSource
from llama_swap.supervisor.learning import Learning, Run
from llama_swap.testing import FakeMemory

GIB = 1 << 30
CARD = Device(0, "RTX", uuid="GPU-0", processes=(ProcessUse(1, 1),), total_bytes=24 * GIB, free_bytes=1)


def at(seconds, gib, host=1):
    """A reading in which instance 1 has so much."""
    return MemoryReading(seconds, None, (CARD,), {1: Holding(ProcessMemory(host * GIB, 0), {0: int(gib * GIB)})})


@pytest.fixture
def memory():
    """Keeps what is recorded."""
    return FakeMemory()


@pytest.fixture
def run():
    """A run that started at 10."""
    return Run(10.0, identity="qwen")


@pytest.fixture
def learning(memory, run):
    """Which follows it as instance 1."""
    learning = Learning(memory)
    learning.started(1, run)
    return learning


def test_a_run(learning, memory):
    """Nothing before it is ready; then the peak so far, and the time to ready once."""
    assert not learning.seen(at(11, 9))
    learning.is_ready(1, 14.0)
    assert not learning.seen(at(13.5, 9)), "that reading began before"
    assert memory.recorded == []
    assert learning.seen(at(15, 8))
    ((identity, figures),) = memory.recorded
    assert identity == "qwen"
    assert figures.by_device == {"GPU-0": 9 * GIB}
    assert (figures.host_bytes, figures.load_seconds, figures.read_ahead) == (GIB, 4.0, False)
    learning.ended(1, out_of_memory=False)
    assert memory.recorded[-1][1].load_seconds is None


def test_only_growth_is_news(learning, memory):
    """A reading every few seconds must not write a file every few seconds."""
    learning.is_ready(1, 14.0)
    news = [learning.seen(at(second, gib)) for second, gib in ((15, 8), (20, 8), (25, 8.01), (30, 8.5), (35, 8.2))]
    assert news == [True, False, False, True, False]
    assert learning.seen(at(40, 8, host=2)), "the machine's memory counts, too"
    learning.ended(1, out_of_memory=False)
    assert memory.recorded[-1][1].by_device == {"GPU-0": int(8.5 * GIB)}


def test_a_start_that_failed_teaches_nothing(learning, memory):
    """It was not a whole load."""
    learning.seen(at(11, 9))
    learning.ended(1, out_of_memory=False)
    assert memory.recorded == []


def test_one_that_is_not_known(memory):
    """Without identity nothing is kept; an instance that is not followed is no error."""
    learning = Learning(memory)
    learning.started(1, Run(10.0))
    learning.is_ready(1, 14.0)
    learning.seen(at(15, 8))
    learning.ended(1, out_of_memory=True)
    learning.is_ready(2, 1.0)
    learning.ended(2, out_of_memory=True)
    assert (memory.recorded, memory.raised) == ([], [])


@pytest.mark.parametrize(
    ("need", "gib", "raised"),
    [
        (Need(NeedSource.ESTIMATED, 10 * GIB), 4, (12 * GIB, 0)),
        (Need(NeedSource.ESTIMATED, 10 * GIB), 20, (22 * GIB, 0)),
        (Need(NeedSource.ESTIMATED, 22 * GIB), 20, (24 * GIB, 0)),
        (Need(NeedSource.ESTIMATED, 10 * GIB), 23, (24 * GIB, 0)),
        (Need(NeedSource.ESTIMATED, 0, 10 * GIB), 0, (0, 12 * GIB)),
    ],
)
def test_one_that_ran_out_of_memory_gets_more(learning, memory, run, *, need, gib, raised):
    """More than expected, and than was seen, but no more than there is: of the devices, or else of the machine."""
    run.need = need
    learning.seen(at(11, gib))
    learning.ended(1, out_of_memory=True)
    ((identity, device, host),) = memory.raised
    assert identity == "qwen"
    assert (device, host) == pytest.approx(raised)


@pytest.mark.parametrize(
    ("devices", "others_gib", "said_so", "raised_gib"),
    [
        ((), 0, True, (33, 0)),  # all that was free
        (("GPU-0",), 0, True, (21, 0)),
        (("GPU-0",), 5, True, (16, 0)),  # a game began to load meanwhile
        (("GPU-0",), 30, True, (0, 1.1)),
        (("GPU-0",), 0, False, (0, 1.1)),  # the kernel ended it: the machine's memory
    ],
)
def test_one_of_unknown_need_that_ran_out_of_memory_alone(memory, run, *, devices, others_gib, said_so, raised_gib):
    """What it had is known not to be enough, so that nobody leaves for it again in vain."""
    other = replace(CARD, index=1, uuid="GPU-1", total_bytes=12 * GIB, used_bytes=0, free_bytes=12 * GIB)

    def reading(seconds, used_gib, ours_gib):
        card = replace(CARD, used_bytes=used_gib * GIB, free_bytes=(24 - used_gib) * GIB)
        holding = Holding(ProcessMemory(GIB, 0), {0: ours_gib * GIB, 1: 0})
        return MemoryReading(seconds, HostMemory(64 * GIB, GIB), (card, other), {1: holding})

    learning = Learning(memory)
    learning.seen(reading(9, 3, 0))
    learning.started(1, run, devices)
    learning.seen(reading(11, 3 + 6 + others_gib, 6))
    learning.ended(1, out_of_memory=True, said_so=said_so)
    ((_, device, host),) = memory.raised
    assert (device, host) == pytest.approx(tuple(gib * GIB for gib in raised_gib))


def test_one_of_unknown_need_that_served(learning, memory, run):
    """Others may be beside it by then: it gets more than was seen, like any other."""
    learning.is_ready(1, 10.5)
    learning.seen(at(11, 20))
    learning.ended(1, out_of_memory=True, said_so=True)
    assert memory.raised[0][1] == pytest.approx(22 * GIB)


def test_one_that_ran_out_of_the_machines_memory_gets_no_more_than_there_is(learning, memory, run):
    """One failure after another must not make it too large for the machine."""
    run.need = Need(NeedSource.ESTIMATED, 0, 30 * GIB)
    learning.seen(MemoryReading(11, HostMemory(32 * GIB, GIB), (), {}))
    learning.ended(1, out_of_memory=True)
    assert memory.raised == [("qwen", 0, 32 * GIB)]


def test_what_was_read_ahead(memory):
    """Told with the time to ready, which is another one then."""
    learning = Learning(memory)
    learning.started(1, Run(10.0, was_read_ahead=True, identity="qwen"))
    learning.is_ready(1, 11.0)
    learning.seen(at(12, 8))
    assert memory.recorded[0][1].read_ahead


def used(seconds, gib, ours=0.0, host=1):
    """A reading with so much of the card in use, and so much of it seen to be instance 1's."""
    device = replace(CARD, used_bytes=int(gib * GIB), free_bytes=int((24 - gib) * GIB))
    return MemoryReading(seconds, None, (device,), {1: Holding(ProcessMemory(host, host), {0: int(ours * GIB)})})


BIG = Need(NeedSource.ESTIMATED, 10 * GIB)


@pytest.mark.parametrize(
    ("need", "grown_gib", "is_hidden"),
    [
        (Need(NeedSource.DECLARED, 10 * GIB), 0, True),  # whoever wrote it knows
        (BIG, 6, True),
        (BIG, 4, False),  # a program for the CPU after all, and somebody else
        (replace(BIG, device_bytes=16 * GIB, added_bytes=6 * GIB), 6, True),
        (replace(BIG, least_bytes=4 * GIB), 3, True),  # it made itself smaller
        (Need(NeedSource.LEARNED, 10 * GIB), 9, True),
        (Need(NeedSource.UNKNOWN), 1, True),
        (Need(NeedSource.UNKNOWN), 0.2, False),
        (None, 1, True),
        (Need(NeedSource.DECLARED, 0, 2 * GIB), 10, False),
    ],
)
def test_memory_that_is_not_seen_to_be_a_models(memory, need, grown_gib, is_hidden):
    """Then a measured nothing is no measurement: only the load time is learned."""
    learning = Learning(memory)
    learning.seen(used(9, 3))
    learning.started(1, Run(10.0, need, identity="qwen"))
    learning.seen(used(11, 3 + grown_gib))
    assert learning.hidden == frozenset(), "while it loads it may have nothing yet"
    learning.is_ready(1, 14.0)
    learning.seen(used(15, 3 + grown_gib, host=100))
    assert learning.hidden == (frozenset({1}) if is_hidden else frozenset())
    assert memory.recorded[0][1] == RunFigures({}, 0 if is_hidden else 100, 4.0)
    learning.seen(used(20, 23, host=100))
    assert learning.hidden == (frozenset({1}) if is_hidden else frozenset()), "what comes later is somebody else's"
    learning.ended(1, out_of_memory=False)
    assert memory.recorded[-1][1].host_bytes == (0 if is_hidden else 100)
    assert learning.hidden == frozenset()


def test_one_that_takes_its_memory_with_the_first_request(memory):
    """It is seen then, and learned from like any other."""
    learning = Learning(memory)
    learning.started(1, Run(10.0, Need(NeedSource.DECLARED, 10 * GIB), identity="qwen"))
    learning.is_ready(1, 14.0)
    learning.seen(used(15, 3))
    assert learning.hidden == frozenset({1})
    learning.seen(used(20, 12, ours=9))
    assert learning.hidden == frozenset()
    assert memory.recorded[-1][1].by_device == {"GPU-0": 9 * GIB}


def test_a_machine_whose_devices_have_no_memory_of_their_own(memory):
    """What is declared of a device is the machine's there, and is seen."""
    learning = Learning(memory)
    learning.started(1, Run(10.0, Need(NeedSource.DECLARED, 10 * GIB), identity="qwen"))
    learning.is_ready(1, 14.0)
    learning.seen(MemoryReading(15, HostMemory(32 * GIB, GIB), (), {1: Holding(ProcessMemory(GIB, GIB))}))
    assert learning.hidden == frozenset()
    assert memory.recorded[0][1].host_bytes == GIB
