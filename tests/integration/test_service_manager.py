"""What systemd sees: notifications, sockets it hands over, exit statuses."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("llama-swap")


class Manager:
    """The receiving end of sd_notify."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(10)
        self.seen = []

    def expect(self, prefix):
        """Receive until a message has a line that starts so; returns that message."""
        while True:
            message = self.socket.recv(4096).decode()
            self.seen.append(message)
            if any(line.startswith(prefix) for line in message.splitlines()):
                return message


@pytest.fixture
def manager(tmp_path):
    """A service manager that listens."""
    instance = Manager(tmp_path / "notify")
    yield instance
    instance.socket.close()


def test_ready_status_reload_and_stop_are_told(service, manager):
    """READY once requests are accepted, STATUS on changes, RELOADING with a time, then READY again, STOPPING."""
    service.write({"models": {"a": service.model(), "b": service.model()}})
    service.start(env={"NOTIFY_SOCKET": str(manager.path)})
    manager.expect("READY=1")
    service.echo("a")
    assert "1 of 2 models ready" in manager.expect("STATUS=1 of 2")
    service.process.send_signal(1)
    assert "MONOTONIC_USEC=" in manager.expect("RELOADING=1")
    manager.expect("READY=1")
    service.stop()
    manager.expect("STOPPING=1")
    manager.expect("EXTEND_TIMEOUT_USEC=")


def test_watchdog_is_fed(service, manager):
    """With a watchdog the supervisor's loop reports twice in its interval."""
    service.write({"models": {}})
    service.start(env={"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"})
    for _ in range(3):
        assert "WATCHDOG=1" in manager.expect("WATCHDOG=1")


def test_socket_activation(service, tmp_path):
    """A listening socket that was handed over is used instead of --listen."""
    service.write({"models": {}})
    code = (
        "import os,socket,sys;s=socket.create_server(('127.0.0.1',int(sys.argv[1])));"
        "os.dup2(s.fileno(),3);os.set_inheritable(3,True);"
        "os.environ.update(LISTEN_PID=str(os.getpid()),LISTEN_FDS='1');os.execv(sys.argv[2],sys.argv[2:])"
    )
    command = [sys.executable, "-c", code, str(service.port), str(COMMAND)]
    with (tmp_path / "out").open("wb") as out:
        service.process = subprocess.Popen(
            [*command, "--config", str(service.config_path), "--listen", "127.0.0.1:1"], stdout=out, stderr=out
        )
    service.wait_until(lambda: service.process.poll() is None and service._answers())
    assert service.stop() == 0


@pytest.mark.parametrize(("arguments", "status"), [(["--config"], 1), (["serve", "--config"], 78)])
def test_exit_status_for_a_bad_configuration(service, arguments, status):
    """llama-swap's status in its own spelling; EX_CONFIG for the unit, which must not restart on it."""
    service.write("modles: {}\n")
    done = subprocess.run(
        [COMMAND, *arguments, service.config_path], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == status
    assert "modles" in done.stderr
    assert "models" in done.stderr


def test_busy_address_is_a_clear_error(service):
    """A port that somebody else has ends the start with status 1 and the address."""
    service.write({"models": {}})
    with socket.create_server(("127.0.0.1", service.port)):
        done = subprocess.run(
            [COMMAND, "--config", service.config_path, "--listen", f"127.0.0.1:{service.port}"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert done.returncode == 1
    assert str(service.port) in done.stderr
