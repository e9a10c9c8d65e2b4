"""What `make demo` says before it serves."""

import socket
import sys
from pathlib import Path

import pytest

from llama_swap.demo import __main__ as demo


def test_three_commands_name_both_models_and_the_address():
    """The commands can be pasted: two chats, one per model, and the list of what runs."""
    text = demo.introduction("127.0.0.1:9393", Path("/c/config.yaml"), ["/bin/llama-server"])
    commands = [line for line in text.splitlines() if line.startswith("  ")]
    assert len(commands) == 3
    assert all("http://127.0.0.1:9393" in command for command in commands)
    assert '"model": "tiny-alpha"' in commands[0]
    assert '"model": "tiny-beta"' in commands[1]
    assert " ps " in commands[2]


def test_busy_port_is_a_clear_error(capsys, monkeypatch):
    """A taken address is named with a way out, before anything is written or started."""
    monkeypatch.setattr(demo, "write_demo", lambda *_: pytest.fail("nothing may be written"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert demo.main(["--listen", address]) == 1
    error = capsys.readouterr().err
    assert address in error
    assert "LISTEN=" in error


def test_address_without_a_port_is_a_clear_error(capsys):
    """An address that cannot be read is quoted."""
    assert demo.main(["--listen", "localhost"]) == 1
    assert "localhost" in capsys.readouterr().err


def test_process_becomes_the_service(capsys, monkeypatch, tmp_path, free_port):
    """The demo hands its process over to the service, with the written configuration."""
    started = []

    def execv(path, argv):
        started.append((path, argv))
        raise SystemExit

    monkeypatch.setattr(demo.os, "execv", execv)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LLAMA_SERVER", sys.executable)
    listen = f"127.0.0.1:{free_port()}"
    with pytest.raises(SystemExit):
        demo.main(["--listen", listen])
    [(path, argv)] = started
    assert path == sys.executable
    assert argv[argv.index("--config") + 1] == str(tmp_path / "llama-swap-demo" / "config.yaml")
    assert argv[argv.index("--listen") + 1] == listen
    assert listen in capsys.readouterr().out
