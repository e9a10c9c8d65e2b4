"""Which zombies are reaped."""

import os
import subprocess

import pytest

from llama_swap.process import orphans
from llama_swap.process.orphans import OrphanReaper
from llama_swap.process.procfs import read_stat
from llama_swap.process.tree import ProcessTree


@pytest.fixture
def zombie():
    """Makes processes that have ended and that nobody has reaped."""
    made = []

    def zombie(**options):
        child = subprocess.Popen(["true"], **options)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        made.append(child)
        return child.pid

    yield zombie
    for child in made:
        child.wait()


async def test_those_of_a_tree_are_reaped_and_those_spared_are_not(zombie):
    """A tree claims its session; the child itself is waited for elsewhere."""
    orphan, main = zombie(start_new_session=True), zombie(start_new_session=True)
    OrphanReaper(lambda: [ProcessTree(orphan, "t"), ProcessTree(main, "u")], lambda: {main}).sweep()
    assert read_stat(orphan) is None
    assert read_stat(main) is not None


async def test_those_of_our_session_are_never_touched(zombie, monkeypatch):
    """However long they wait: a child of ours has left this session and cannot return."""
    monkeypatch.setattr(orphans, "STRAY_SECONDS", -1)
    pid = zombie()
    reaper = OrphanReaper(list, set)
    reaper.sweep()
    reaper.sweep()
    assert read_stat(pid) is not None


async def test_a_stray_is_reaped_after_a_while(zombie, monkeypatch):
    """At first sight it may be somebody's who has not asked yet."""
    pid = zombie(start_new_session=True)
    reaper = OrphanReaper(list, set)
    reaper.sweep()
    reaper.sweep()
    assert read_stat(pid) is not None
    monkeypatch.setattr(orphans, "STRAY_SECONDS", -1)
    reaper.sweep()
    assert read_stat(pid) is None
