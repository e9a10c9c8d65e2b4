"""Who is killed when the service has died. Real processes are killed in tests/integration/process/test_guardian.py."""

import os
import subprocess

import pytest

from llama_swap.process import last_rites
from llama_swap.process.procfs import read_stat


@pytest.fixture
def spawn():
    """Starts sleepers in sessions of their own."""
    children = []

    def spawn(**env):
        child = subprocess.Popen(["sleep", "60"], env=env, start_new_session=True)
        children.append(child)
        return child.pid

    yield spawn
    for child in children:
        child.kill()
        child.wait()


def ward(pid, shift=0):
    """What the registry says about a child."""
    return (pid, b"%d" % (read_stat(pid).start_ticks + shift))


def test_the_marked_and_the_registered_die_and_nobody_else(spawn):
    """A mark within a mark counts; another service's does not."""
    marked = spawn(LLAMA_SWAP_INSTANCE="aaaa.1.")
    nested = spawn(LLAMA_SWAP_INSTANCE="aaaa.1.,bbbb.1.")
    registered = spawn()
    spawn(LLAMA_SWAP_INSTANCE="cccc.1.")
    spawn()
    assert last_rites.victims(b"aaaa", [ward(registered)]) == {marked, nested, registered}


def test_an_id_that_is_used_again_is_not_mistaken_for_ours(spawn):
    """The start time tells them apart."""
    pid = spawn()
    assert last_rites.victims(b"aaaa", [ward(pid, shift=-1)]) == set()


def test_it_does_not_kill_itself():
    """Whatever it was started from."""
    assert os.getpid() not in last_rites.victims(b"aaaa", [(os.getsid(0), b"")])


def test_the_mark_is_the_same_as_the_launchers():
    """The program imports nothing of the package, so the name is written twice."""
    from llama_swap.process.tree import MARK_VARIABLE  # noqa: PLC0415  (beside the claim)

    assert f"{MARK_VARIABLE}=".encode() == last_rites.MARK
