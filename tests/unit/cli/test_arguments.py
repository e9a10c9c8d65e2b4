"""The command line: llama-swap's own flags in both spellings, sub-commands, and what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from llama_swap.cli import local, remote
from llama_swap.cli.arguments import parse


def test_the_bare_form_serves_with_defaults():
    """Without a command it serves, on loopback, and a configuration error will give 1."""
    arguments = parse([])
    assert arguments.run is local.serve
    assert (arguments.config, arguments.config_dir, arguments.listen) == (None, None, "127.0.0.1:9292")
    assert (arguments.watch_config, arguments.log_format, arguments.config_error_status) == (False, "auto", 1)


@pytest.mark.parametrize(
    "words",
    [
        ["-config", "f", "-config-dir", "d", "-listen", ":1", "-watch-config"],
        ["--config", "f", "--config-dir", "d", "--listen", ":1", "--watch-config"],
        ["-config=f", "--config-dir=d", "-listen=:1", "-watch-config=true"],
        ["--watch-config", "--listen=:1", "-config-dir=d", "--config=f"],
        ["-config=first", "-config=f", "-config-dir=d", "-listen=:1", "-watch-config=T"],
    ],
)
def test_flags_in_both_spellings(words):
    """One dash or two, a space or an equals sign, any order, the last one wins: as Go's flags."""
    arguments = parse(words)
    assert (arguments.config, arguments.config_dir) == (Path("f"), Path("d"))
    assert (arguments.listen, arguments.watch_config) == (":1", True)


def test_a_boolean_can_be_switched_off():
    """-watch-config=false is a way to say no."""
    assert parse(["-watch-config=false"]).watch_config is False
    assert parse(["-watch-config=0", "-config=x"]).watch_config is False


def test_values_keep_their_dashes():
    """Only flags are rewritten, not what follows an equals sign."""
    assert parse(["-config=-odd-name.yaml"]).config == Path("-odd-name.yaml")


def test_what_follows_two_dashes_is_no_flag():
    """A model may be called anything."""
    assert parse(["load", "--", "-odd-name"]).model == "-odd-name"


def test_serve_takes_the_same_flags_and_reports_a_bad_configuration_differently():
    """The command for service managers differs only in the status of a configuration error."""
    arguments = parse(["serve", "-config", "f", "--watch-config"])
    assert (arguments.run, arguments.config, arguments.watch_config) == (local.serve, Path("f"), True)
    assert arguments.config_error_status == 78


@pytest.mark.parametrize(
    ("words", "mentioned"),
    [
        (["-nonsense"], "nonsense"),
        (["-conf", "x"], "--conf"),
        (["-config"], "--config"),
        (["-watch-config=maybe"], "maybe"),
        (["--log-format", "xml"], "xml"),
        (["-listen", ":1", "extra"], "extra"),
        (["lod", "m"], "did you mean 'load'"),
        (["dance"], "there are: serve"),
        (["load"], "MODEL"),
        (["load", "m", "--wait", "0"], "'0'"),
        (["ps", "--key", "s"], "--key"),
    ],
)
def test_wrong_usage_is_2_and_says_what(words, mentioned, capsys):
    """A bad flag, a missing value, an unknown command: 2, as llama-swap, and the word in question."""
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert mentioned in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["-version", "--version"])
def test_version(flag, capsys):
    """The version is printed in llama-swap's words."""
    with pytest.raises(SystemExit) as ended:
        parse([flag])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("version: ")
    assert "), built at " in out


@pytest.mark.parametrize("words", [["-h"], ["-help"], ["--help"], ["ps", "--help"], ["serve", "-help"]])
def test_help_is_0(words, capsys):
    """Asking for help is no error."""
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 0
    assert "usage: llama-swap" in capsys.readouterr().out


def test_every_command_can_be_parsed(monkeypatch):
    """Each command leads to its function with its arguments."""
    monkeypatch.delenv("LLAMA_SWAP_URL", raising=False)
    assert parse(["check", "f", "--allow-missing-env"]).run is local.check
    assert parse(["schema"]).run is local.schema
    assert parse(["ps"]).url == "http://127.0.0.1:9292"
    assert parse(["load", "org/m", "--wait", "2.5"]).wait == 2.5
    assert parse(["unload"]).model is None
    assert parse(["logs", "proxy", "-f"]).follow is True
    assert parse(["story", "m", "-url", "http://h:1"]).url == "http://h:1"
    assert parse(["story", "m"]).run is remote.story


def test_the_url_can_come_from_the_environment(monkeypatch):
    """LLAMA_SWAP_URL names the service, --url beats it."""
    monkeypatch.setenv("LLAMA_SWAP_URL", "http://there:1")
    assert parse(["ps"]).url == "http://there:1"
    assert parse(["ps", "--url", "http://here:2"]).url == "http://here:2"


def test_the_client_does_not_load_the_service():
    """Commands for people start quickly: neither the server nor the configuration's libraries are imported."""
    program = (
        "import sys; from llama_swap.cli.arguments import parse; parse(['ps']); "
        "print(sorted({'aiohttp', 'pydantic', 'structlog', 'yaml', 'msgspec', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[]\n"
