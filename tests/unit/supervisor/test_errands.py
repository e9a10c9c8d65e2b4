"""Errands end in the event that answers them, whatever fails; what instances teach is kept."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from llama_swap.config import PortBook, load_config
from llama_swap.gpu import Device, ProcessUse
from llama_swap.process import LaunchSpec
from llama_swap.scheduler.commands import AssessNeed, MeasureMemory, ReadAhead, StopReadingAhead
from llama_swap.scheduler.events import MemoryMeasured, NeedAssessed
from llama_swap.scheduler.memory import HOST, UNKNOWN_NEED, Need, NeedSource
from llama_swap.supervisor import errands
from llama_swap.supervisor.errands import Errands
from llama_swap.supervisor.instance import Instance
from llama_swap.testing import FakeMemory, FakeProcess, RecordingObserver

GIB = 1 << 30
CARD = Device(
    0,
    "RTX",
    uuid="GPU-0",
    vendor="NVIDIA",
    total_bytes=24 * GIB,
    used_bytes=4 * GIB,
    free_bytes=20 * GIB,
    processes=(ProcessUse(1, 1),),
)


class Desk:
    """Errands at work, and what they told."""

    def __init__(self, config, memory):
        self.config, self.memory = config, memory
        self.observer = RecordingObserver()
        self.events = []
        self.told = asyncio.Condition()
        self.instances = {}
        self.errands = Errands(
            memory.senses() if memory else None, self.observer, self.tell, self.instances, {"HOME": "/"}
        )

    def tell(self, event):
        """Keep an event."""
        self.events.append(event)

    def runs(self, model="a", pid=500):
        """An instance whose process runs."""
        spec = LaunchSpec(model, (), {}, None, "", None, None)
        instance = Instance(1, self.config.models[model], started_at=0.0, process=FakeProcess(pid, spec))
        self.instances[1] = instance
        self.errands.started(instance)
        return instance

    async def settles(self):
        """Return when nothing is under way any more."""
        while others := asyncio.all_tasks() - {asyncio.current_task()} - self.before:
            await asyncio.wait(others)


@pytest.fixture
def memory():
    """A machine with one card."""
    return FakeMemory(CARD)


@pytest.fixture
def config(tmp_path):
    """The models a and b."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "models:\n  a: {cmd: 'server --port ${PORT}', vram: 3GiB, env: [X=1]}\n  b: {cmd: 'other --port ${PORT}'}\n"
    )
    return load_config([path], env={}, ports=PortBook(lambda _port: True))


async def at_work(desk):
    """Let it begin, in a task group of its own, which ends with the test."""
    desk.before = asyncio.all_tasks()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        desk.errands.begin(tasks)
        await desk.settles()
        yield desk


@pytest.fixture
async def desk(config, memory):
    """Errands on that machine, after the first look."""
    async for desk in at_work(Desk(config, memory)):
        yield desk


@pytest.fixture
async def blind(config):
    """Errands of a supervisor that knows nothing."""
    async for desk in at_work(Desk(config, None)):
        yield desk


async def test_the_first_look_is_told_unasked(desk):
    """At the start, without anybody waiting for it."""
    (event,) = desk.events
    assert [pool.pool for pool in event.pools] == [HOST, "GPU-0"]
    assert event.has_devices


async def test_a_reading_says_who_has_what(desk, memory):
    """By instance: the processes of those that run."""
    desk.runs(pid=500)
    memory.taken[500] = {0: 3 * GIB}
    desk.errands.perform(MeasureMemory(""), {})
    await desk.settles()
    assert desk.events[-1].pools[1].held == {1: 3 * GIB}


async def test_a_reading_that_fails_is_an_answer(desk, memory):
    """Nothing about memory ends the service."""
    memory.failure = RuntimeError("broken")
    desk.errands.perform(MeasureMemory(""), {})
    await desk.settles()
    assert isinstance(desk.events[-1], MemoryMeasured)
    assert desk.events[-1].pools == ()
    assert "broken" in desk.events[-1].problem


async def test_all_who_look_share_one_reading(desk, memory):
    """Figures of a second ago are good enough to be shown; older ones are read anew, once for everybody."""
    await desk.errands.wait_measured()
    assert memory.reads == 1, "that of the start is young"
    desk.errands._latest = replace(desk.errands._latest, at=desk.errands._latest.at - 2)
    await asyncio.gather(*(desk.errands.wait_measured() for _ in range(5)))
    assert memory.reads == 2
    assert len(desk.events) == 2


async def test_who_looks_does_not_wait_for_a_driver_that_hangs(desk, memory, monkeypatch):
    """What is known is shown then, and the next one does not ask again beside the first."""
    monkeypatch.setattr(errands, "_SHOWN_SECONDS", 0.0)
    answers, asked = asyncio.Event(), []

    async def hang(_holders):
        asked.append(True)
        await answers.wait()
        raise TimeoutError

    monkeypatch.setattr(memory, "read", hang)
    for _ in range(3):
        await desk.errands.wait_measured()
    assert (len(asked), len(desk.events)) == (1, 1)
    answers.set()
    await desk.settles()
    assert "could not be measured" in desk.events[-1].problem


async def test_a_need(desk, memory):
    """What is known of the model goes to who knows more, and the answer to the scheduler and the observer."""
    need = memory.needs["a"] = Need(NeedSource.DECLARED, 3 * GIB)
    asked = []
    assess = memory.assess

    async def remember(facts, *, most_bytes=None):
        asked.append((facts, most_bytes))
        return await assess(facts, most_bytes=most_bytes)

    memory.assess = remember
    desk.errands.perform(AssessNeed("a", "v1", "a request waits for a"), desk.config.models)
    await desk.settles()
    assert desk.events[-1] == NeedAssessed("a", "v1", need)
    assert desk.observer.needs == [("a", need)]
    ((facts, most_bytes),) = asked
    assert (facts.model, facts.vram_bytes, facts.env) == ("a", 3 * GIB, {"HOME": "/", "X": "1"})
    assert facts.argv == desk.config.models["a"].argv
    assert most_bytes == 24 * GIB


async def test_a_need_that_cannot_be_found_out(desk, memory):
    """Unknown is an answer; so it is for a model that a reload has removed."""
    memory.failure = RuntimeError("broken")
    desk.errands.perform(AssessNeed("a", "v1", ""), desk.config.models)
    desk.errands.perform(AssessNeed("gone", "v2", ""), {})
    await desk.settles()
    answers = [event for event in desk.events if isinstance(event, NeedAssessed)]
    assert [(a.model, a.fingerprint, a.need) for a in answers] == [
        ("a", "v1", UNKNOWN_NEED),
        ("gone", "v2", UNKNOWN_NEED),
    ]
    assert [model for model, text in desk.observer.notices if "broken" in text] == ["a"]


async def test_without_senses_everything_is_unknown(blind):
    """And nothing is told unasked."""
    assert blind.events == []
    blind.errands.perform(MeasureMemory(""), {})
    blind.errands.perform(AssessNeed("a", "v1", ""), blind.config.models)
    blind.errands.perform(ReadAhead("a", ""), blind.config.models)
    instance = blind.runs()
    await blind.errands.wait_measured()
    blind.errands.is_ready(instance)
    blind.errands.ended(instance, out_of_memory=True)
    await blind.settles()
    measured, assessed = sorted(blind.events, key=lambda event: type(event).__name__)
    assert (measured.pools, measured.problem) == ((), "memory is not measured")
    assert assessed.need == UNKNOWN_NEED


async def test_reading_ahead(desk, memory):
    """The files of the model, and how much that was; a model without files, or none at all, is left alone."""
    memory.files["a"] = (Path("/models/a.gguf"),)
    for model in ("a", "b", "gone"):
        desk.errands.perform(ReadAhead(model, ""), desk.config.models)
    await desk.settles()
    assert memory.read_files == [(Path("/models/a.gguf"),)]
    assert desk.observer.reads == [("a", GIB)]


async def test_reading_ahead_ends_when_the_model_is_ready(desk, memory):
    """It has read its file itself by then; and its load time is learned as one with preparation."""
    memory.files["a"] = (Path("/models/a.gguf"),)
    desk.errands.perform(ReadAhead("a", ""), desk.config.models)
    await desk.settles()
    instance = desk.runs()
    await desk.settles()
    instance.ready_at = 5.0
    desk.errands.is_ready(instance)
    desk.errands.is_ready(instance)
    assert memory.cancels == 1
    desk.errands.perform(MeasureMemory(""), {})
    await desk.settles()
    ((identity, figures),) = memory.recorded
    assert (identity, figures.load_seconds, figures.read_ahead) == ("a", 5.0, True)


async def test_reading_ahead_for_nobody_ends(desk, memory):
    """Also where the files are not known yet; another model's reading goes on."""
    memory.files["a"] = (Path("/models/a.gguf"),)
    desk.errands.perform(ReadAhead("a", ""), desk.config.models)
    desk.errands.perform(StopReadingAhead("a", ""), desk.config.models)
    await desk.settles()
    assert memory.read_files == []
    desk.errands.perform(ReadAhead("a", ""), desk.config.models)
    await desk.settles()
    before = memory.cancels
    desk.errands.perform(StopReadingAhead("b", ""), desk.config.models)
    assert memory.cancels == before
    desk.errands.perform(StopReadingAhead("a", ""), desk.config.models)
    assert memory.cancels == before + 1


async def test_what_was_learned_is_kept(desk, memory):
    """Written in a thread after the first reading of a ready model and at its end."""
    instance = desk.runs(pid=500)
    memory.taken[500] = {0: 3 * GIB}
    await desk.settles()
    instance.ready_at = 5.0
    desk.errands.is_ready(instance)
    desk.errands.perform(MeasureMemory(""), {})
    await desk.settles()
    assert memory.saves == 1
    assert memory.recorded[0][1].by_device == {"GPU-0": 3 * GIB}
    del desk.instances[1]
    desk.errands.ended(instance, out_of_memory=False)
    await desk.settles()
    assert memory.saves == 2


async def test_a_disk_that_is_full_is_noticed(desk, memory):
    """Figures are no reason to end."""
    instance = desk.runs()
    await desk.settles()
    memory.failure = OSError(28, "No space left on device")
    desk.errands.ended(instance, out_of_memory=True)
    await desk.settles()
    assert "No space left" in desk.observer.notices[0][1]
    assert desk.observer.shortages == [("a", True)]


async def test_a_machine_without_devices_is_looked_at_when_a_model_is_ready(desk, memory):
    """Nothing else would tell what it takes there; with devices the scheduler asks by itself."""
    instance = desk.runs()
    await desk.settles()
    looks = memory.reads
    instance.ready_at = 5.0
    desk.errands.is_ready(instance)
    await desk.settles()
    assert memory.reads == looks
    memory.devices = ()
    desk.errands.perform(MeasureMemory(""), {})
    await desk.settles()
    desk.errands.is_ready(instance)
    await desk.settles()
    assert memory.reads == looks + 2
    assert memory.recorded[0][1].host_bytes == 2 << 20
