"""The death of the service itself: whatever kills it, none of its children stays."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llama_swap.process.procfs import read_stat

HERE = Path(__file__).parent
FAKE_SERVER = HERE.parent / "fake_server.py"


@pytest.fixture
def service(unused_port):
    """Starts the driver with a fake server below it; returns the driver and what it reports."""
    drivers = []

    def service(ending, *flags, command=()):
        fake = [sys.executable, "-S", str(FAKE_SERVER), "--port", str(unused_port), *flags]
        argv = [*command, *fake] if command else fake
        driver = subprocess.Popen(
            [sys.executable, str(HERE / "driver.py"), ending, str(unused_port), "--", *argv], stdout=subprocess.PIPE
        )
        drivers.append(driver)
        return driver, json.loads(driver.stdout.readline())

    yield service
    for driver in drivers:
        driver.kill()
        driver.wait()
        driver.stdout.close()


@pytest.mark.parametrize("kind", ["group", "session", "daemon"])
def test_sigkill_of_the_service_leaves_nothing(service, is_gone, kind):
    """Not even grandchildren in sessions of their own that ignore SIGTERM."""
    driver, report = service("wait", "--ignore-sigterm", "--fork-grandchild", kind)
    assert len([pid for pid in report["tree"] if not read_stat(pid).is_zombie]) == 2
    driver.kill()
    assert [pid for pid in (*report["tree"], *report["guardian"]) if not is_gone(pid)] == []


def test_an_end_without_closing_leaves_nothing_either(service, is_gone):
    """A crash of the interpreter, an exit in the wrong place: the pipe ends without a good-bye."""
    _, report = service("vanish", "--ignore-sigterm")
    assert [pid for pid in (*report["tree"], *report["guardian"]) if not is_gone(pid)] == []


def test_a_clean_end_takes_the_guardian_along(service, is_gone):
    """Within half a second, or the service manager would have to end it."""
    driver, report = service("exit")
    assert driver.wait(5) == 0
    assert [pid for pid in (*report["tree"], *report["guardian"]) if not is_gone(pid, 0.5)] == []


def test_the_guardian_survives_what_a_terminal_or_service_manager_sends(service, is_gone):
    """Ctrl-C goes to everybody at a terminal, SIGTERM to the whole unit; the guardian leaves last."""
    driver, report = service("wait", "--ignore-sigterm")
    (guardian,) = report["guardian"]
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(guardian, signum)
    driver.kill()
    assert [pid for pid in report["tree"] if not is_gone(pid)] == []


def test_the_guardian_is_small_and_idle(service):
    """It is there all day: about a megabyte, and no CPU."""
    _, report = service("wait")
    (guardian,) = report["guardian"]
    status = dict(line.split(":", 1) for line in Path(f"/proc/{guardian}/status").read_text().splitlines())
    assert int(status["VmRSS"].split()[0]) < 4096
    assert Path(f"/proc/{guardian}/wchan").read_text() in ("pipe_read", "anon_pipe_read", "0")


def test_nobody_else_is_killed(service, is_gone):
    """A process that only looks like ours, with the same variable and another value, lives on."""
    other = subprocess.Popen(
        ["sleep", "60"], env={"LLAMA_SWAP_INSTANCE": "0123456789abcdef.1."}, start_new_session=True
    )
    driver, report = service("wait")
    driver.kill()
    assert all(is_gone(pid) for pid in (*report["tree"], *report["guardian"]))
    assert other.poll() is None
    other.kill()
    other.wait()


def test_it_takes_moments(service, is_gone):
    """The next start of the service should not find the memory in use."""
    driver, report = service("wait", "--ignore-sigterm")
    began = time.monotonic()
    driver.kill()
    assert all(is_gone(pid) for pid in report["tree"])
    assert time.monotonic() - began < 1


# --- a real, delegated cgroup ------------------------------------------------------


@pytest.fixture
def delegated():
    """A cgroup marked as systemd marks what it delegates; needs root and a writable cgroup v2."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    tops = [Path(fields[4]) for fields in mounts if fields[fields.index("-") + 1] == "cgroup2" and "rw" in fields[5]]
    if not tops or os.geteuid() != 0:
        pytest.skip("no writable cgroup v2 here")
    folder = tops[0] / f"llama-swap-test-{secrets.token_hex(4)}.service"
    try:
        folder.mkdir()
        os.setxattr(folder, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    yield folder
    (folder / "cgroup.kill").write_text("1")
    end = time.monotonic() + 5
    while "populated 1" in (folder / "cgroup.events").read_text() and time.monotonic() < end:
        pass  # a moment: everybody in it has been killed
    for path, _, _ in os.walk(folder, topdown=False):
        Path(path).rmdir()


@pytest.mark.parametrize("ending", ["exit", "kill"])
def test_a_child_lives_and_dies_in_a_cgroup_of_its_own(service, delegated, is_gone, monkeypatch, ending):
    """Where one is delegated to us; then even who left session, environment and parent behind is caught."""
    enter = ["sh", "-c", f'echo $$ > {delegated}/cgroup.procs; exec "$@"', "enter"]
    monkeypatch.setattr(subprocess, "Popen", _prefixed(enter, subprocess.Popen))
    escape = ["sh", "-c", 'env -i setsid -f sleep 300; sleep 0.1; exec "$@"', "escape"]
    driver, report = service("wait" if ending == "kill" else "exit", command=escape)
    assert len(report["tree"]) == 2, "the child and the one that tried to escape"
    own, *children = (line.rpartition("/")[2].strip() for text in report["cgroups"] for line in text.splitlines()
                      if line.startswith("0::"))  # fmt: skip
    assert own == "service"
    assert set(children) == {"instance-1-m"}
    if ending == "kill":
        driver.kill()
    driver.wait(5)
    assert [pid for pid in (*report["tree"], *report["guardian"]) if not is_gone(pid)] == []
    assert [path.name for path in delegated.iterdir() if path.is_dir()] == ["service"]


def _prefixed(prefix, popen):
    def start(argv, **options):
        return popen([*prefix, *argv], **options)

    return start
