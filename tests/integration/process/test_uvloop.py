"""The same on uvloop, where it is installed: it has its own ideas about descriptors, signals and children."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from llama_swap.process import Launcher, LaunchSpec
from llama_swap.process.procfs import children_of, read_stat

uvloop = pytest.importorskip("uvloop")
FAKE_SERVER = Path(__file__).parents[1] / "fake_server.py"


@pytest.mark.parametrize("end", ["terminate", "kill", "crash"])
def test_a_whole_life_on_uvloop(unused_port, end):
    """Ready, flooding, with an orphan in a session of its own; then gone, all of it."""
    flags = ("--port", str(unused_port), "--flood-stdout", "-1", "--load-seconds", "0.1", "--fork-grandchild", "daemon")
    argv = (sys.executable, "-S", str(FAKE_SERVER), *flags)
    spec = LaunchSpec("m", argv, dict(os.environ), None, f"http://localhost:{unused_port}", "/health", unused_port)

    async def life():
        count = 0

        def on_output(_stream, line):
            nonlocal count
            count += len(line)

        async with Launcher.open() as launcher:
            child = await launcher.launch(spec, on_output=on_output)
            await child.wait_ready()
            members = [stat.pid for stat in child.tree.members()]
            assert len(members) >= 2
            {"terminate": child.terminate, "kill": child.kill, "crash": lambda: os.kill(child.pid, 9)}[end]()
            report = await child.wait_exit()
            assert [pid for pid in members if read_stat(pid)] == []
        return count, report

    before = children_of(os.getpid())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        count, report = runner.run(life())
    assert count > 0
    assert report.signal == (None if end == "terminate" else 9)
    assert children_of(os.getpid()) == before


def test_orphans_are_reaped_on_uvloop_too():
    """It keeps SIGCHLD to itself unless one asks in the right way."""

    async def life():
        printed = asyncio.Queue()
        argv = ("sh", "-c", "sh -c 'sleep 0.1 & echo $!' ; exec sleep 300")
        spec = LaunchSpec("m", argv, dict(os.environ), None, "http://localhost:1", None, None)
        async with Launcher.open() as launcher, asyncio.timeout(5):
            await launcher.launch(spec, on_output=lambda _, line: printed.put_nowait(int(line)))
            orphan = await printed.get()
            while read_stat(orphan) is not None:  # noqa: ASYNC110  (nobody is told when the kernel forgets it)
                await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(life())
