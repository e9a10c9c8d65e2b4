"""The supervisor performs decisions, reports what happened, follows a reload, and shows that it lives."""

import asyncio
import itertools

import pytest

from llama_swap.config import PortBook
from llama_swap.errors import Reason
from llama_swap.scheduler.state import Phase
from llama_swap.supervisor import Supervisor
from llama_swap.testing import FakeLauncher, RecordingObserver

from .conftest import leased, make_config, needs, running


async def test_reload_keeps_unchanged_models_and_their_requests(tmp_path, launcher):
    """A lease outlives a reload that does not change its model; a changed one is drained and replaced."""
    before = make_config(tmp_path, {"a": {}, "b": {}}, groups={"g": {"members": ["a", "b"], "swap": False}})
    after = make_config(
        tmp_path,
        {"a": {"ttl": 60}, "b": {"env": ["X=1"]}},
        groups={"g": {"members": ["a", "b"], "swap": False}},
    )
    async with running(before, launcher) as (supervisor, _):
        await supervisor.load("b")
        async with leased(supervisor, "a") as lease:
            supervisor.apply(after)
            assert supervisor.instance_of("a") is lease.instance
            await supervisor.load("b")
        stopped = [process.spec.model for process in launcher.processes if process.asked]
        assert stopped == ["b"]
        assert launcher.processes[-1].spec.env["X"] == "1"


async def test_reload_gives_living_upstreams_their_new_timeouts(tmp_path, launcher):
    """A changed time-out needs no restart to count."""
    before = make_config(tmp_path, {"a": {"timeouts": {"responseHeader": 1}}})
    after = make_config(tmp_path, {"a": {"timeouts": {"responseHeader": 30}}})
    async with running(before, launcher) as (supervisor, _), leased(supervisor, "a") as lease:
        assert lease.upstream.timeouts.response_header == 1
        supervisor.apply(after)
        assert supervisor.instance_of("a") is lease.instance
        assert lease.upstream.timeouts.response_header == 30


async def test_where_memory_decides_two_that_fit_stay_together(tmp_path, launcher, memory):
    """The errands are run and answered: each starts on the device that it was given, and sees no other."""
    memory.needs |= {"a": needs(20), "b": needs(10)}
    async with running(make_config(tmp_path, {"a": {}, "b": {}}), launcher, memory=memory) as (supervisor, observer):
        await supervisor.load("a")
        memory.taken[launcher.processes[0].pid] = {0: 20 << 30}
        await supervisor.load("b")
        assert [view.phase for view in supervisor.snapshot().instances] == [Phase.READY, Phase.READY]
        seen = [process.spec.env["CUDA_VISIBLE_DEVICES"] for process in launcher.processes]
        assert seen == ["GPU-0", "GPU-1"]
        assert observer.needs == [("a", needs(20)), ("b", needs(10))]


async def test_who_waits_when_the_service_ends(tmp_path):
    """Is told so, and is gone from the queue; a request in service goes on."""
    launcher = FakeLauncher()
    async with running(make_config(tmp_path, {"a": {}, "b": {}}), launcher) as (supervisor, _):
        async with leased(supervisor, "a") as lease:
            waiting = asyncio.gather(supervisor.load("b"), supervisor.load("b"), return_exceptions=True)
            await asyncio.sleep(0)  # they run to their wait
            assert len(supervisor.snapshot().queue) == 2
            supervisor.refuse_waiting()
            supervisor.refuse_waiting()
            errors = await waiting
            assert [(e.reason, e.retry_after_seconds) for e in errors] == [(Reason.SHUTTING_DOWN, 1.0)] * 2
            assert "model b" in errors[0].message
            assert supervisor.snapshot().queue == ()
            assert supervisor.instance_of("a") is lease.instance
        assert [process.spec.model for process in launcher.processes] == ["a"]


async def test_nobody_waits_for_a_yield_when_the_service_ends(tmp_path, launcher):
    """It has no end that would come in time."""
    config = make_config(tmp_path, {"a": {}}, **{"yield": {"requests": "wait"}})
    async with running(config, launcher) as (supervisor, _):
        supervisor.request_yield("me", because="a film")
        waiting = asyncio.gather(supervisor.load("a"), return_exceptions=True)
        await asyncio.sleep(0)  # it runs to its wait
        assert supervisor.snapshot().queue
        supervisor.refuse_yielded()
        (error,) = await waiting
        assert (error.reason, "a film" in error.message) == (Reason.YIELDED, True)


async def test_what_a_reading_makes_doubtful_is_said(tmp_path, launcher, memory):
    """A device that the configuration names and nobody has."""
    memory.needs["a"] = needs(5)
    config = make_config(tmp_path, {"a": {"vram": {7: "5GiB"}}})
    async with running(config, launcher, memory=memory) as (supervisor, observer):
        await supervisor.load("a")
        assert [(model, text.partition(":")[0]) for model, text in observer.notices] == [
            ("a", "vram names device 7, and there is 0, 1")
        ]


async def test_bug_in_the_scheduler_ends_the_service(tmp_path, launcher, monkeypatch):
    """An exception out of the core is not swallowed: the supervisor's loop ends with it."""
    supervisor = Supervisor(
        make_config(tmp_path, {"a": {}}),
        launcher=launcher,
        ports=PortBook(lambda _port: True),
        observer=RecordingObserver(),
        environment={},
    )
    started = asyncio.Event()
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the group is raised by the block as a whole
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(supervisor.run(started))
            await started.wait()
            monkeypatch.setattr(supervisor._scheduler, "handle", lambda _event, *, now: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await supervisor.load("a")
            await asyncio.Event().wait()
    assert caught.group_contains(ZeroDivisionError)


async def test_loop_reports_that_it_lives(tmp_path, launcher):
    """The watchdog is fed from the supervisor's loop, in the interval that was asked for."""
    observer = RecordingObserver()
    thrice = asyncio.Event()
    beats = itertools.count(1)
    observer.beat = lambda: thrice.set() if next(beats) == 3 else None
    supervisor = Supervisor(
        make_config(tmp_path, {"a": {}}),
        launcher=launcher,
        ports=PortBook(lambda _port: True),
        observer=observer,
        environment={},
        beat_seconds=0.01,
    )
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(supervisor.run(asyncio.Event()))
        await thrice.wait()
        task.cancel()


async def test_a_deadline_that_has_come_already(tmp_path, launcher, monkeypatch):
    """For one uvloop's call_at gives a handle without a time; another event before it runs must not ask for that."""
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):
        loop = asyncio.get_running_loop()
        calls = []

        def call_at(when, callback):
            calls.append(when)
            return loop.call_soon(callback)

        monkeypatch.setattr(loop, "call_at", call_at)
        deadlines = iter([5.0, 5.0, 3.0, None])
        monkeypatch.setattr(supervisor._scheduler, "next_deadline", lambda: next(deadlines, None))
        for _event in range(3):
            supervisor.pin("a")
        assert calls == [5.0, 3.0], "only an earlier time replaces one"
        monkeypatch.undo()
