"""Pidfds in the loop."""

import asyncio
import signal
import subprocess

import pytest

from llama_swap.process.watch import ExitWatch


@pytest.fixture
def sleeper():
    """A child of the test."""
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child
        child.kill()


async def test_the_end_is_told_once_and_not_reaped(sleeper):
    """Reaping is for the parent, which knows why."""
    ended = asyncio.Event()
    watch = ExitWatch(sleeper.pid, ended.set)
    watch.send(signal.SIGKILL)
    await ended.wait()
    assert sleeper.wait() == -signal.SIGKILL
    watch.send(signal.SIGKILL)
    watch.close()


async def test_a_closed_watch_is_silent(sleeper):
    """Nothing is called after close."""
    called = []
    watch = ExitWatch(sleeper.pid, lambda: called.append(1))
    watch.close()
    sleeper.kill()
    sleeper.wait()
    await asyncio.sleep(0)
    assert called == []


async def test_what_is_gone_cannot_be_watched(sleeper):
    """Whoever asks learns it at once."""
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(ProcessLookupError):
        ExitWatch(sleeper.pid, lambda: None)
