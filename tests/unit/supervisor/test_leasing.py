"""How a request gets its lease, and how it gives it back."""

import asyncio
from types import SimpleNamespace

import pytest

from llama_swap.errors import Reason, RequestError
from llama_swap.scheduler import commands
from llama_swap.scheduler.events import RequestArrived
from llama_swap.scheduler.state import Phase
from llama_swap.supervisor.leasing import Lease
from llama_swap.testing import FakeLauncher

from .conftest import make_config, running


async def test_lease_of_a_cold_model_starts_it_and_gives_its_instance(tmp_path, launcher):
    """The first lease starts the process with the configured command and waits for its readiness."""
    config = make_config(tmp_path, {"a": {"env": ["UP=1"]}})
    async with running(config, launcher) as (supervisor, observer):
        with supervisor.lease("a") as lease:
            await lease.wait_grant()
            assert lease.instance.model.id == "a"
            assert lease.instance.process is launcher.processes[0]
        assert launcher.processes[0].spec.argv == config.models["a"].argv
        assert launcher.processes[0].spec.env == {"HOME": "/", "UP": "1"}
        assert observer.lines == [("a", b"a started")]


async def test_lease_of_a_ready_model_is_there_without_waiting(tmp_path, launcher):
    """A request for a ready model never yields to the event loop before it has its lease."""
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):
        await supervisor.load("a")
        with supervisor.lease("a") as lease:
            assert lease.granted_at
            with pytest.raises(StopIteration):  # it ran to its end in one step
                lease.wait_grant().send(None)
            assert supervisor.snapshot().instances[0].leases == 1
        assert supervisor.snapshot().instances[0].leases == 0


async def test_load_time_and_queue_time_are_told_apart(tmp_path):
    """What a request waited for its model's own start is load time, the rest is queue time."""
    launcher = FakeLauncher(ready_at_once=False)
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):

        async def ask():
            with supervisor.lease("a") as lease:
                await lease.wait_grant()
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


async def test_a_refused_request_can_still_be_granted(tmp_path):
    """At the end of the service those that wait are refused; what becomes ready in that moment serves all the same."""
    launcher = FakeLauncher(ready_at_once=False)
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):
        with supervisor.lease("a") as lease:
            process = await launcher.wait_launched(1)
            lease.refused(RequestError(Reason.SHUTTING_DOWN, "the service ends"))
            process.become_ready()
            await supervisor.load("a")
            await lease.wait_grant()
            assert supervisor.snapshot().instances[0].leases == 1
        assert supervisor.snapshot().instances[0].leases == 0


def test_a_request_that_cannot_be_told_of_holds_nothing():
    """A bug of the scheduler ends it, and leaves nobody waiting."""
    ended = []

    def ask(_lease):
        raise ZeroDivisionError

    lease = Lease(SimpleNamespace(ask=ask, end_lease=ended.append), RequestArrived(1, "a"))
    with pytest.raises(ZeroDivisionError), lease:
        pytest.fail("it was let in")
    assert ended == [lease]
