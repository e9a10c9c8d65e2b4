"""Facts about processes."""

import os
import subprocess
import sys

import pytest

from llama_swap.process import procfs


@pytest.fixture
def sleeper():
    """A child with a name that is hard to parse, its own session and a variable."""
    code = "import sys; open('/proc/self/comm', 'w').write('a) b (c'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={"MARK": "outer,abc.1."},
    ) as child:
        child.stdout.readline()
        yield child
        child.stdin.close()


def test_a_process_is_read_whatever_its_name_is(sleeper):
    """Parentheses and spaces in the name do not shift the fields."""
    stat = procfs.read_stat(sleeper.pid)
    assert (stat.pid, stat.parent, stat.group, stat.session) == (sleeper.pid, os.getpid(), sleeper.pid, sleeper.pid)
    assert not stat.is_zombie
    assert stat.start_ticks >= procfs.read_stat(os.getpid()).start_ticks


def test_a_zombie_is_a_zombie_until_it_is_reaped():
    """Its group and session are still known then."""
    child = subprocess.Popen(["true"], start_new_session=True)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    stat = procfs.read_stat(child.pid)
    assert stat.is_zombie
    assert stat.session == child.pid
    child.wait()
    assert procfs.read_stat(child.pid) is None


def test_children_are_found_with_and_without_the_kernels_list(sleeper, monkeypatch):
    """A kernel without CONFIG_PROC_CHILDREN costs a walk through all processes."""
    assert sleeper.pid in procfs.children_of(os.getpid())
    assert procfs.children_of(sleeper.pid) == []
    monkeypatch.setattr(procfs, "_has_children_files", lambda: False)
    monkeypatch.setattr(procfs.Path, "read_bytes", _without_children_files(procfs.Path.read_bytes))
    assert sleeper.pid in procfs.children_of(os.getpid())


def _without_children_files(read):
    def read_bytes(path):
        if path.name == "children":
            raise FileNotFoundError
        return read(path)

    return read_bytes


def test_the_environment_at_the_start_is_searched(sleeper):
    """The token must be in the value of that variable."""
    assert procfs.environ_holds(sleeper.pid, "MARK", "abc.1.")
    assert not procfs.environ_holds(sleeper.pid, "MARK", "abc.2.")
    assert not procfs.environ_holds(sleeper.pid, "MAR", "abc.1.")
    assert not procfs.environ_holds(1 << 22, "MARK", "abc.1.")


def test_the_program_is_named_without_its_arguments(sleeper):
    """Arguments may hold secrets, and this goes into an error message."""
    assert procfs.program_of(sleeper.pid) == sys.executable
    assert procfs.program_of(1 << 22) == "unknown"
