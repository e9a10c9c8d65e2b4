"""The supervisor performs decisions with processes that a test controls, and reports exactly what happened."""

import asyncio
import itertools
import socket
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import yaml

from llama_swap.config import PortBook, load_config
from llama_swap.errors import Reason, RequestError
from llama_swap.gpu import Device, MemoryReading, ProcessUse
from llama_swap.process import ExitReport, LaunchFailed, NotReady
from llama_swap.scheduler import commands
from llama_swap.scheduler.memory import Need, NeedSource
from llama_swap.scheduler.state import Phase
from llama_swap.supervisor import Instance, Supervisor
from llama_swap.testing import FakeLauncher, FakeMemory, RecordingObserver


def make_config(tmp_path, models, **top):
    """A configuration with these models; each value holds keys to add to a plausible command."""
    rendered = {name: {"cmd": "server --port ${PORT}", **keys} for name, keys in models.items()}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"models": rendered, **top}))
    return load_config([path], env={}, ports=PortBook(lambda _port: True))


@asynccontextmanager
async def running(config, launcher, ports=None, memory=None):
    """A supervisor that works while the block does."""
    observer = RecordingObserver()
    supervisor = Supervisor(
        config,
        launcher=launcher,
        ports=ports or PortBook(lambda _port: True),
        observer=observer,
        environment={"HOME": "/"},
        senses=memory.senses() if memory else None,
    )
    started = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(supervisor.run(started))
        await started.wait()
        yield supervisor, observer
        await supervisor.shutdown()
        task.cancel()


@pytest.fixture
def launcher():
    """Processes that are ready as soon as they are started."""
    return FakeLauncher()


async def test_lease_of_a_cold_model_starts_it_and_gives_its_instance(tmp_path, launcher):
    """The first lease starts the process with the configured command and waits for its readiness."""
    config = make_config(tmp_path, {"a": {"env": ["UP=1"]}})
    async with running(config, launcher) as (supervisor, observer):
        async with supervisor.lease("a") as lease:
            assert lease.instance.model.id == "a"
            assert lease.instance.process is launcher.processes[0]
        assert launcher.processes[0].spec.argv == config.models["a"].argv
        assert launcher.processes[0].spec.env == {"HOME": "/", "UP": "1"}
        assert observer.lines == [("a", b"a started")]


async def test_lease_of_a_ready_model_is_there_without_waiting(tmp_path, launcher):
    """A request for a ready model never yields to the event loop before it has its lease."""
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):
        await supervisor.load("a")
        lease = supervisor.lease("a")
        with pytest.raises(StopIteration):  # __aenter__ ran to its end in one step
            lease.__aenter__().send(None)
        await lease.__aexit__(None, None, None)


async def test_load_time_and_queue_time_are_told_apart(tmp_path):
    """What a request waited for its model's own start is load time, the rest is queue time."""
    launcher = FakeLauncher(ready_at_once=False)
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):

        async def ask():
            async with supervisor.lease("a") as lease:
                return lease

        asking = asyncio.gather(ask(), ask())
        (await launcher.wait_launched(1)).become_ready()
        for lease in await asking:
            began = max(lease.arrived_at, lease.instance.started_at)
            assert lease.load_seconds == pytest.approx(lease.instance.ready_at - began)
            waited = lease.granted_at - lease.arrived_at
            assert lease.load_seconds + lease.queue_seconds == pytest.approx(waited)


async def test_refusal_carries_reason_and_output(tmp_path):
    """A process that exits while loading gives its waiters the reason and its last lines."""
    launcher = FakeLauncher(ready_at_once=False)
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):
        loading = asyncio.gather(supervisor.load("a"), return_exceptions=True)
        (await launcher.wait_launched(1)).exit("exit status 7", ("no such device",))
        (error,) = await loading
        assert isinstance(error, RequestError)
        assert error.reason is Reason.START_FAILED
        assert "exit status 7" in error.message
        assert "no such device" in error.message


async def test_command_that_cannot_be_launched_is_a_failed_start(tmp_path, launcher):
    """A launch failure reaches the request in the launcher's words."""
    launcher.failure = LaunchFailed("failed to start command 'server': no such file")
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):
        with pytest.raises(RequestError, match="failed to start command 'server'"):
            await supervisor.load("a")


async def test_foreign_listener_fails_the_start_and_stops_the_process(tmp_path):
    """When readiness can never come, the waiter is told why and the process is stopped."""
    launcher = FakeLauncher(ready_at_once=False)
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):
        loading = asyncio.gather(supervisor.load("a"), return_exceptions=True)
        process = await launcher.wait_launched(1)
        process.fail_readiness(NotReady("port 5800 belongs to pid 1"))
        (error,) = await loading
        assert "port 5800 belongs to pid 1" in error.message
        assert process.asked == ["terminate"]


async def test_cancelled_waiter_leaves_no_lease_behind(tmp_path):
    """A client that leaves while its model loads holds nothing once the model is ready."""
    launcher = FakeLauncher(ready_at_once=False)
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):
        waiting = asyncio.gather(supervisor.load("a"))
        process = await launcher.wait_launched(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        process.become_ready()
        await supervisor.load("a")
        (view,) = supervisor.snapshot().instances
        assert (view.phase, view.leases) == (Phase.READY, 0)


async def test_cancellation_in_the_moment_of_the_grant_releases_the_lease(tmp_path):
    """The lease was granted but its request never ran again: it is released all the same."""
    launcher = FakeLauncher(ready_at_once=False)
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, observer):
        loading = asyncio.gather(supervisor.load("a"))
        process = await launcher.wait_launched(1)
        granted = asyncio.Event()

        def cancel_on_grant(command):
            if isinstance(command, commands.GrantLease):
                loading.cancel()
                granted.set()

        observer.decided = cancel_on_grant
        process.become_ready()
        await granted.wait()
        with pytest.raises(asyncio.CancelledError):
            await loading
        assert supervisor.snapshot().instances[0].leases == 0


async def test_unload_returns_when_the_process_is_gone(tmp_path, launcher):
    """Unload waits for the confirmed exit, not for the signal."""
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):
        await supervisor.load("a")
        launcher.processes[0].obeys = False
        unloading = asyncio.gather(supervisor.unload("a"))
        await asyncio.sleep(0)  # the task runs to its first wait
        assert launcher.processes[0].asked == ["terminate"]
        assert not unloading.done()
        launcher.processes[0].exit()
        await unloading
        assert supervisor.snapshot().instances == ()


async def test_stop_asked_before_the_launch_returned_is_not_lost(tmp_path):
    """A stop that is decided while the process is being launched reaches it."""
    launcher = FakeLauncher(ready_at_once=False)
    release = asyncio.Event()
    launch = launcher.launch

    async def slow_launch(spec, *, on_output):
        await release.wait()
        return await launch(spec, on_output=on_output)

    launcher.launch = slow_launch
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):
        loading = asyncio.gather(supervisor.load("a"), return_exceptions=True)
        await asyncio.sleep(0)
        unloading = asyncio.gather(supervisor.unload("a"))
        await asyncio.sleep(0)
        release.set()
        await unloading
        (error,) = await loading
        assert error.reason is Reason.UNLOADED
        assert launcher.processes[0].asked == ["terminate"]


async def test_process_that_ignores_the_stop_is_killed_after_its_grace(tmp_path, launcher):
    """The scheduler's deadline reaches the process as a kill."""
    config = make_config(tmp_path, {"a": {"unloadTimeout": 1}})
    async with running(config, launcher) as (supervisor, _):
        await supervisor.load("a")
        launcher.processes[0].obeys = False
        await supervisor.unload("a")
        assert launcher.processes[0].asked == ["terminate", "kill"]


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
        async with supervisor.lease("a") as lease:
            supervisor.apply(after)
            assert supervisor.instance_of("a") is lease.instance
            await supervisor.load("b")
        stopped = [process.spec.model for process in launcher.processes if process.asked]
        assert stopped == ["b"]
        assert launcher.processes[-1].spec.env["X"] == "1"


async def test_port_taken_meanwhile_is_replaced_at_the_start(tmp_path, launcher):
    """A model whose port somebody else took starts on another free one."""
    config = make_config(tmp_path, {"a": {}})
    taken = config.models["a"].port
    async with running(config, launcher, PortBook(lambda port: port != taken)) as (supervisor, _):
        await supervisor.load("a")
        spec = launcher.processes[0].spec
        assert spec.owned_port != taken
        assert spec.argv[-1] == str(spec.owned_port)
        assert spec.base_url.endswith(f":{spec.owned_port}")


async def test_start_without_a_free_port_fails_that_start_only(tmp_path, launcher):
    """When no port is left the request is told so, and the service goes on."""
    ports = PortBook(lambda _port: False)
    config = make_config(tmp_path, {"a": {}, "b": {"cmd": "server", "proxy": "http://192.0.2.1:80"}})
    async with running(config, launcher, ports) as (supervisor, _):
        with pytest.raises(RequestError, match="port") as caught:
            await supervisor.load("a")
        assert caught.value.reason is Reason.START_FAILED
        await supervisor.load("b")


async def test_listener_on_a_configured_port_is_noticed(tmp_path, launcher):
    """A model with a port of its own on this machine is warned of somebody who has it already."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        config = make_config(tmp_path, {"a": {"cmd": "server", "proxy": f"http://127.0.0.1:{port}"}})
        async with running(config, launcher) as (supervisor, observer):
            await supervisor.load("a")
            assert [model for model, text in observer.notices if str(port) in text] == ["a"]


async def test_stop_that_cannot_be_asked_for_is_a_kill(tmp_path, launcher):
    """Out of descriptors, the polite way fails: the process must go all the same, and the service stay."""
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):
        await supervisor.load("a")
        launcher.processes[0].cannot_be_asked = OSError(24, "Too many open files")
        await supervisor.unload("a")
        assert launcher.processes[0].asked == ["kill"]


async def test_reload_gives_living_upstreams_their_new_timeouts(tmp_path, launcher):
    """A changed time-out needs no restart to count."""
    before = make_config(tmp_path, {"a": {"timeouts": {"responseHeader": 1}}})
    after = make_config(tmp_path, {"a": {"timeouts": {"responseHeader": 30}}})
    async with running(before, launcher) as (supervisor, _), supervisor.lease("a") as lease:
        assert lease.upstream.timeouts.response_header == 1
        supervisor.apply(after)
        assert supervisor.instance_of("a") is lease.instance
        assert lease.upstream.timeouts.response_header == 30


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


CARD = Device(
    0,
    "RTX",
    uuid="GPU-0",
    vendor="NVIDIA",
    total_bytes=24 << 30,
    used_bytes=0,
    free_bytes=24 << 30,
    processes=(ProcessUse(1, 1),),
)


@pytest.fixture
def memory():
    """A machine with two cards of 24 GiB."""
    return FakeMemory(CARD, replace(CARD, index=1, uuid="GPU-1"))


def needs(gib):
    """Of devices."""
    return Need(NeedSource.DECLARED, gib << 30)


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


async def test_what_grew_at_the_end_is_learned(tmp_path, launcher, memory):
    """It is looked at once more before it is stopped, since readings are seconds apart."""
    memory.needs["a"] = needs(5)
    async with running(make_config(tmp_path, {"a": {}}), launcher, memory=memory) as (supervisor, _):
        await supervisor.load("a")
        memory.taken[launcher.processes[0].pid] = {0: 5 << 30}
        for _turn in range(5):  # of the loop, for the reading of what is ready
            await asyncio.sleep(0)
        async with supervisor.lease("a"):
            memory.taken[launcher.processes[0].pid] = {0: 8 << 30}
        await supervisor.unload("a")
        assert memory.recorded[-1][1].by_device == {"GPU-0": 8 << 30}


@pytest.mark.parametrize("failing", [True, False])
async def test_a_driver_that_does_not_answer_keeps_nobody(tmp_path, launcher, memory, monkeypatch, failing):
    """What is to be stopped is stopped."""
    monkeypatch.setattr("llama_swap.supervisor.running._LOOK_SECONDS", 0.01)
    memory.needs["a"] = needs(5)
    async with running(make_config(tmp_path, {"a": {}}), launcher, memory=memory) as (supervisor, _):
        async with supervisor.lease("a"):
            pass
        hangs = asyncio.Event()

        async def read(_holders):
            if failing:
                raise RuntimeError
            await hangs.wait()
            return MemoryReading(0.0, None, (), {})

        monkeypatch.setattr(memory, "read", read)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(supervisor.unload("a"))
            await launcher.processes[0].wait_exit()
            hangs.set()


async def test_words_of_a_process_that_memory_ran_out(tmp_path, memory):
    """They make its end while loading one for want of memory, whatever its exit status."""
    launcher = FakeLauncher(ready_at_once=False)
    async with running(make_config(tmp_path, {"a": {}}), launcher, memory=memory) as (supervisor, observer):
        loading = asyncio.gather(supervisor.load("a"), return_exceptions=True)
        process = await launcher.wait_launched(1)
        process.say("ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory")
        process.exit("exit status 1")
        await loading
        assert observer.shortages == [("a", True)]


@pytest.mark.parametrize(
    ("words", "kernel", "short"), [(True, False, True), (False, True, True), (False, False, False)]
)
async def test_a_request_is_told_that_memory_ran_out(tmp_path, launcher, words, kernel, short):
    """Its connection broke; the process said why, or the kernel did. Otherwise the error stays what it was."""
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _), supervisor.lease("a") as lease:
        process, broken = launcher.processes[0], RequestError(Reason.UPSTREAM_FAILED, "connection reset")
        if words:
            process.say("CUDA error: out of memory")
        process.exit("killed by SIGABRT", out_of_memory=kernel)
        if short:
            with pytest.raises(RequestError, match="model 'a': it ran out of memory") as caught:
                await lease.instance.blame(broken)
            assert caught.value.reason is Reason.OUT_OF_MEMORY
        else:
            await lease.instance.blame(broken)


async def test_a_request_is_told_that_it_was_cut_by_a_yield(tmp_path, launcher):
    """With that reason and a time to try again, not as a fault of the model."""
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _), supervisor.lease("a") as lease:
        lease.instance.yielded_because = "a game runs"
        with pytest.raises(RequestError, match="stopped while it served this request: a game runs") as caught:
            await lease.instance.blame(RequestError(Reason.UPSTREAM_FAILED, "connection reset"))
        assert (caught.value.reason, caught.value.retry_after_seconds) == (Reason.YIELDED, 60)


async def test_an_error_of_the_client_is_not_memory_s(tmp_path, launcher):
    """Nobody waits for the end of a process because a request was wrong."""
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _), supervisor.lease("a") as lease:
        await lease.instance.blame(RequestError(Reason.INVALID_REQUEST, "no"))


@pytest.mark.parametrize(
    ("asked", "ready_at", "said_at", "is_short"),
    [(False, None, 1.0, True), (False, 2.0, 95.0, True), (False, 2.0, 50.0, False), (True, None, 99.0, False)],
    ids=["loading", "just now", "long ago", "we ended it"],
)
def test_words_explain_an_end_only_at_once(tmp_path, asked, ready_at, said_at, is_short):
    """A server that serves may say that memory ran out and go on; what we end ourselves did not end of it."""
    model = make_config(tmp_path, {"a": {}}).models["a"]
    instance = Instance(1, model, 0.0, ready_at=ready_at, stop_asked=asked, memory_words_at=said_at)
    assert instance.died_of_memory(ExitReport("exit status 1", 1, None, ()), 100.0) is is_short


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
