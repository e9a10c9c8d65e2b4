"""Whose memory it is, and whether memory ran out: real children with real descendants."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llama_swap.process import tree


def mark_of(pid):
    """What a process was marked with."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(entry.split(b"=", 1) for entry in entries if entry)[b"LLAMA_SWAP_INSTANCE"].decode()


@pytest.mark.parametrize("kind", ["group", "session", "daemon"])
async def test_its_processes_wherever_they_are(start, kind):
    """As another thread sees them; when it is gone there are none."""
    run = await start("--fork-grandchild", kind)
    await run.child.wait_ready()
    (grandchild,) = run.journal("grandchild")
    assert await asyncio.to_thread(run.child.pids) == {run.child.pid, grandchild["pid"]}
    await run.stop()
    assert run.child.pids() == frozenset()


async def test_looking_takes_nothing_away(start):
    """A look from outside does not change what the child remembers of its tree."""
    run = await start("--fork-grandchild", "daemon")
    await run.child.wait_ready()
    seen = set(run.child.tree._seen)
    await asyncio.to_thread(run.child.pids)
    assert run.child.tree._seen == seen
    await run.stop()


async def test_a_process_elsewhere_with_its_mark(start):
    """As in a container that was started with ``-e LLAMA_SWAP_INSTANCE``; others are not its."""
    run = await start()
    await run.child.wait_ready()
    mark = mark_of(run.child.pid)
    command = [sys.executable, "-S", "-c", "print(flush=True); input()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
    with (
        subprocess.Popen(command, env={**os.environ, "LLAMA_SWAP_INSTANCE": mark}, **pipes) as marked,  # noqa: ASYNC220
        subprocess.Popen(command, **pipes) as other,  # noqa: ASYNC220 - they start in milliseconds
    ):
        marked.stdout.readline()
        other.stdout.readline()
        assert run.child.owns(marked.pid)
        assert not run.child.owns(other.pid)
        marked.kill()
        other.kill()
    await run.stop()


@pytest.mark.parametrize(("kills", "is_short"), [([0, 1], True), ([3, 3], False)])
async def test_the_kernel_ends_it_for_want_of_memory(start, monkeypatch, kills, is_short):
    """SIGKILL that nobody of us sent, and the kernel counts one more such end."""
    monkeypatch.setattr(tree, "memory_kills", lambda _folder: kills[0])
    run = await start()
    await run.child.wait_ready()
    monkeypatch.setattr(tree, "memory_kills", lambda _folder: kills[1])
    os.kill(run.child.pid, signal.SIGKILL)
    report = await run.child.wait_exit()
    assert report.out_of_memory is is_short
    assert ("memory ran out" in report.detail) is is_short


@pytest.mark.parametrize("end", ["kill", "exit"])
async def test_another_s_want_of_memory_is_not_its(start, monkeypatch, end):
    """The count is of the whole unit: an end by us, or by itself, has its own reason."""
    monkeypatch.setattr(tree, "memory_kills", lambda _folder: 0)
    run = await start(*(["--crash-at-start", "3"] if end == "exit" else []))
    monkeypatch.setattr(tree, "memory_kills", lambda _folder: 1)
    if end == "kill":
        run.child.kill()
    report = await run.child.wait_exit()
    assert not report.out_of_memory
