"""The life of instances, with processes that a test controls: ports, launches, stops and ends."""

import asyncio
import socket

import pytest

from llama_swap.config import PortBook
from llama_swap.errors import Reason, RequestError
from llama_swap.gpu import MemoryReading
from llama_swap.process import LaunchFailed, NotReady
from llama_swap.testing import FakeLauncher

from .conftest import leased, make_config, needs, running


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


async def test_stop_that_cannot_be_asked_for_is_a_kill(tmp_path, launcher):
    """Out of descriptors, the polite way fails: the process must go all the same, and the service stay."""
    async with running(make_config(tmp_path, {"a": {}}), launcher) as (supervisor, _):
        await supervisor.load("a")
        launcher.processes[0].cannot_be_asked = OSError(24, "Too many open files")
        await supervisor.unload("a")
        assert launcher.processes[0].asked == ["kill"]


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


async def test_what_grew_at_the_end_is_learned(tmp_path, launcher, memory):
    """It is looked at once more before it is stopped, since readings are seconds apart."""
    memory.needs["a"] = needs(5)
    async with running(make_config(tmp_path, {"a": {}}), launcher, memory=memory) as (supervisor, _):
        await supervisor.load("a")
        memory.taken[launcher.processes[0].pid] = {0: 5 << 30}
        for _turn in range(5):  # of the loop, for the reading of what is ready
            await asyncio.sleep(0)
        async with leased(supervisor, "a"):
            memory.taken[launcher.processes[0].pid] = {0: 8 << 30}
        await supervisor.unload("a")
        assert memory.recorded[-1][1].by_device == {"GPU-0": 8 << 30}


@pytest.mark.parametrize("failing", [True, False])
async def test_a_driver_that_does_not_answer_keeps_nobody(tmp_path, launcher, memory, monkeypatch, failing):
    """What is to be stopped is stopped."""
    monkeypatch.setattr("llama_swap.supervisor.running._LOOK_SECONDS", 0.01)
    memory.needs["a"] = needs(5)
    async with running(make_config(tmp_path, {"a": {}}), launcher, memory=memory) as (supervisor, _):
        async with leased(supervisor, "a"):
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
