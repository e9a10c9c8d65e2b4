"""sd_notify, the watchdog and socket activation, on real sockets."""

import os
import secrets
import socket
import subprocess
import sys
import time

import pytest

from llama_swap.notify import Notifier, listen_sockets


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """A service manager's socket, named by NOTIFY_SOCKET."""
    name = f"@llama-swap-test-{secrets.token_hex(8)}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        server.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield server


@pytest.fixture
def notifier(manager):
    """A notifier connected to the manager."""
    it = Notifier()
    yield it
    it.close()


def messages(notifier, manager, *calls):
    """What the manager receives for these calls, one message each."""
    out = []
    for call in calls:
        call(notifier)
        out.append(manager.recv(4096).decode())
    return out


def test_messages(notifier, manager):
    """Each call is one message of the protocol."""
    assert messages(
        notifier,
        manager,
        lambda it: it.ready(),
        lambda it: it.ready("2 models ready"),
        lambda it: it.stopping(),
        lambda it: it.stopping("draining"),
        lambda it: it.status("Größe: 1 of 2"),
        lambda it: it.watchdog(),
        lambda it: it.extend_timeout(1.5),
    ) == [
        "READY=1",
        "READY=1\nSTATUS=2 models ready",
        "STOPPING=1",
        "STOPPING=1\nSTATUS=draining",
        "STATUS=Größe: 1 of 2",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=1500000",
    ]


def test_reloading_carries_the_time_in_the_same_message(notifier, manager):
    """Type=notify-reload needs MONOTONIC_USEC beside RELOADING=1, from the monotonic clock."""
    before = time.monotonic_ns() // 1000
    (message,) = messages(notifier, manager, lambda it: it.reloading())
    first, second = message.split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_a_status_is_one_line(notifier, manager):
    """A newline in a status cannot say something else to the manager."""
    assert messages(notifier, manager, lambda it: it.status("a\nSTOPPING=1")) == ["STATUS=a STOPPING=1"]


def test_a_manager_that_does_not_read_never_holds_the_service_up(notifier, manager):
    """With its queue full, status and watchdog messages are dropped at once: the event loop sends them."""
    for number in range(2000):
        notifier.status(f"status {number}")
    began = time.monotonic()
    notifier.watchdog()
    notifier.status("one more")
    assert time.monotonic() - began < 0.1


def test_children_do_not_inherit_the_socket(notifier):
    """NOTIFY_SOCKET is gone once the notifier exists."""
    assert "NOTIFY_SOCKET" not in os.environ


def test_a_manager_that_is_gone_is_no_error(notifier, manager):
    """Losing the manager does not stop the service."""
    manager.close()
    notifier.ready()


def test_without_a_manager_nothing_happens(monkeypatch):
    """Outside systemd every call is a no-op."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    it = Notifier()
    it.ready()
    it.reloading()
    it.watchdog()
    it.close()
    assert it.watchdog_interval_seconds() is None


# The library drops its socket unclosed when it cannot connect.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_address_that_nobody_serves_is_no_error(monkeypatch, tmp_path):
    """A stale NOTIFY_SOCKET does not stop the service."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nothing"))
    Notifier().ready()


@pytest.mark.parametrize(
    ("microseconds", "pid", "expected"),
    [
        ("30000000", None, 15.0),
        ("30000000", "own", 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("-5", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_watchdog_interval(monkeypatch, microseconds, pid, expected):
    """Half of WATCHDOG_USEC, if it is for this process; both variables are removed."""
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid), ("NOTIFY_SOCKET", None)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, str(os.getpid()) if value == "own" else value)
    assert Notifier().watchdog_interval_seconds() == expected
    assert "WATCHDOG_USEC" not in os.environ
    assert "WATCHDOG_PID" not in os.environ


ACTIVATED = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid() + int(sys.argv[1]))
from llama_swap.notify import listen_sockets
try:
    found = listen_sockets()
except ValueError as error:
    print("error:", error)
else:
    print([(s.getsockname()[1], s.getblocking(), os.get_inheritable(s.fileno())) for s in found])
print(sorted(name for name in os.environ if name.startswith("LISTEN_")))
"""


def activated(server, count="1", pid_offset=0):
    """What a process started with this socket as descriptor 3 finds."""
    # The shell puts the socket where systemd does.
    command = 'exec 3<&0 0</dev/null; exec "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", command, "sh", sys.executable, "-c", ACTIVATED, str(pid_offset)],
        env={**os.environ, "LISTEN_FDS": count, "LISTEN_FDNAMES": "http"},
        stdin=server,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_passed_socket_is_used_and_not_inherited():
    """The socket that systemd listens on arrives, and the variables are gone."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert activated(server) == [f"[({port}, False, False)]", "[]"]


def test_a_socket_for_another_process_is_left_alone():
    """LISTEN_PID of another process means that nothing is ours."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert activated(server, pid_offset=1) == ["[]", "[]"]


def test_what_does_not_listen_is_an_error():
    """A datagram socket is named instead of failing later."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        first, second = activated(server)
    assert first == "error: file descriptor 3 passed by systemd is not a listening stream socket"
    assert second == "[]"


@pytest.mark.parametrize("count", ["", "two", "-1"])
def test_nonsense_counts_are_no_sockets(monkeypatch, count):
    """A count that is no number is ignored."""
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)
    assert listen_sockets() == []
