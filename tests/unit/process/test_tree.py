"""Which processes belong to one child."""

import subprocess
import sys

import pytest

from llama_swap.process import tree
from llama_swap.process.tree import ProcessTree


@pytest.fixture
def child():
    """A process in a session of its own, without any mark."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process
        process.kill()


def test_one_that_changes_its_parent_while_we_look_stays_a_member(child, monkeypatch):
    """It is in neither list of children then: no longer in that of its parent, and not yet in ours when we read it."""
    seen = ProcessTree(child.pid, "token")
    assert [stat.pid for stat in seen.members()] == [child.pid]
    monkeypatch.setattr(tree, "children_of", lambda _pid: [])
    assert [stat.pid for stat in seen.members()] == [child.pid]
    assert [stat.pid for stat in seen.members()] == [child.pid], "and is not forgotten by the look that missed it"


def test_one_that_is_gone_is_forgotten(child):
    """Its number may belong to anybody later."""
    seen = ProcessTree(child.pid, "token")
    assert seen.members()
    child.kill()
    child.wait()
    assert seen.members() == []
