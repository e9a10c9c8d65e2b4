"""Commands without a service: what serve hands over, and what check and schema print and return."""

import json
import socket
import sys
import types
from pathlib import Path

import pytest

from llama_swap.app.options import ServeOptions
from llama_swap.cli import main

GOOD = "models:\n  m:\n    cmd: server --port ${PORT} --name ${MODEL_ID}\n"


@pytest.fixture
def served(monkeypatch):
    """The options that the service was started with; it ends with status 3."""
    calls = []
    fake = types.ModuleType("llama_swap.app")
    fake.ServeOptions = ServeOptions
    fake.serve = lambda options: calls.append(options) or 3
    monkeypatch.setitem(sys.modules, "llama_swap.app", fake)
    return calls


def test_the_bare_form_starts_the_service(served):
    """The flags arrive, and the service's status is that of the command."""
    assert main(["-config", "f", "-listen", ":1", "--log-format", "json"]) == 3
    assert served == [ServeOptions(Path("f"), None, ":1", watch_config=False, log_format="json", config_error_status=1)]


def test_serve_starts_the_service(served):
    """The command for service managers asks for status 78."""
    assert main(["serve", "--config-dir", "d", "-watch-config"]) == 3
    assert served == [
        ServeOptions(None, Path("d"), "127.0.0.1:9292", watch_config=True, log_format="auto", config_error_status=78)
    ]


def test_tls_files_arrive(served):
    """llama-swap's flags for HTTPS."""
    assert main(["-config", "f", "-tls-cert-file", "c", "-tls-key-file=k"]) == 3
    assert (served[0].tls_cert_file, served[0].tls_key_file) == (Path("c"), Path("k"))


def test_check_takes_the_flag_of_serving_too(tmp_path, capsys):
    """Whoever copies the flags of the service is understood."""
    file = tmp_path / "config.yaml"
    file.write_text(GOOD)
    assert main(["check", "--config", str(file)]) == 0
    assert capsys.readouterr().out.startswith("ok")


def test_check_of_a_good_configuration(tmp_path, capsys):
    """A good configuration is shown with its models, and gives 0."""
    file = tmp_path / "config.yaml"
    file.write_text(GOOD)
    assert main(["check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("ok")
    assert "server --port 5800 --name m\n" in out
    assert err == ""


def test_check_of_a_bad_configuration(tmp_path, capsys):
    """All that is wrong goes to stderr with its place, and gives 78."""
    file = tmp_path / "config.yaml"
    file.write_text("models:\n  m:\n    cmd: x ${PORT}\n    no_such_key: 1\nno_such_section: 2\n")
    assert main(["check", str(file)]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{file}:4" in err
    assert f"{file}:5" in err
    assert err.endswith("2 problems\n")


def test_check_of_a_missing_file_and_of_none(tmp_path, capsys):
    """A file that is not there, or no file at all, is a configuration error."""
    assert main(["check", str(tmp_path / "nothing.yaml")]) == 78
    assert "nothing.yaml" in capsys.readouterr().err
    assert main(["check"]) == 78
    assert capsys.readouterr().err


def test_check_does_not_depend_on_what_runs_here(tmp_path, capsys):
    """The ports shown are those of the configuration, also if one is busy at the moment."""
    file = tmp_path / "config.yaml"
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        file.write_text(f"startPort: {port}\n{GOOD}")
        assert main(["check", str(file)]) == 0
    assert f"--port {port} " in capsys.readouterr().out


def test_check_at_build_time(tmp_path, capsys, monkeypatch):
    """A variable that is not set is an error, and a warning where that is asked for."""
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    file = tmp_path / "config.yaml"
    file.write_text("models:\n  m:\n    cmd: server --key ${env.NOT_SET_HERE} --port ${PORT}\n")
    assert main(["check", str(file)]) == 78
    assert "NOT_SET_HERE" in capsys.readouterr().err
    assert main(["check", "--allow-missing-env", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("ok")
    assert "warning: " in out
    assert "'NOT_SET_HERE' is not set" in out


def test_schema_is_json(capsys):
    """The schema describes the keys of the configuration."""
    assert main(["schema"]) == 0
    assert "models" in json.loads(capsys.readouterr().out)["properties"]
