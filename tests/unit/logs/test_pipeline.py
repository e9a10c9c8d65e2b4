"""Logging set up: formats, levels, what is printed, and where lines of libraries go."""

import json
import logging

import pytest
import structlog

from llama_swap.logs import COMBINED, PROXY, LogFormat, LogHub, LogSettings, StdoutChoice, set_up_logging
from llama_swap.logs.pipeline import _mark


@pytest.fixture
def hub():
    """A fresh hub."""
    return LogHub()


def fail():
    """Raise an exception with a message that tries to look like a line of its own."""
    raise ValueError("first\nINFO    forged \x1b[2J")


def test_human_form(hub, printed):
    """Level, sentence and fields; the hub has the same text."""
    set_up_logging(hub, LogSettings(format=LogFormat.HUMAN), stdout=printed)
    structlog.get_logger(component="x").info("Listening", address="127.0.0.1:9292", note="a b")
    assert printed.text == 'INFO    Listening component=x address=127.0.0.1:9292 note="a b"\n'
    assert hub.history(PROXY) == hub.history(COMBINED) == printed.getvalue()


def test_logfmt_and_json_form(hub, printed):
    """Machines get one record a line; the hub's readers are people and get words."""
    set_up_logging(hub, LogSettings(format=LogFormat.LOGFMT), stdout=printed)
    structlog.get_logger().warning("Low disk", free=3)
    set_up_logging(hub, LogSettings(format=LogFormat.JSON), stdout=printed)
    structlog.get_logger().warning("Low disk", free=3)
    first, second = printed.text.splitlines()
    assert first == 'level=warning event="Low disk" free=3'
    assert json.loads(second) == {"level": "warning", "event": "Low disk", "free": 3}
    assert hub.history(PROXY) == b"WARNING Low disk free=3\n" * 2


@pytest.mark.parametrize(("terminal", "expected"), [(True, "INFO    Hello"), (False, "level=info event=Hello")])
def test_auto_is_human_on_a_terminal_and_logfmt_elsewhere(hub, printed, terminal, expected):
    """The default form depends on who reads."""
    printed.terminal = terminal
    set_up_logging(hub, LogSettings(), stdout=printed)
    structlog.get_logger().info("Hello")
    assert printed.text == expected + "\n"


def test_colours_only_on_a_terminal_and_never_in_the_hub(hub, printed, monkeypatch):
    """Warnings are coloured for people at a terminal, unless NO_COLOR is set."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    printed.terminal = True
    set_up_logging(hub, LogSettings(), stdout=printed)
    structlog.get_logger().warning("Careful")
    monkeypatch.setenv("NO_COLOR", "1")
    set_up_logging(hub, LogSettings(), stdout=printed)
    structlog.get_logger().warning("Careful")
    assert printed.text == "\x1b[33mWARNING Careful\x1b[0m\nWARNING Careful\n"
    assert b"\x1b" not in hub.history(PROXY)


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", "debug info warning error"),
        ("INFO", "info warning error"),
        ("Warn", "warning error"),
        ("error", "error"),
        ("loud", "info warning error"),
    ],
)
def test_levels(hub, printed, level, shown):
    """Levels are those of llama-swap in any case; an unknown one is info."""
    set_up_logging(hub, LogSettings(level=level, format=LogFormat.JSON), stdout=printed)
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), name)("x")
    assert " ".join(json.loads(line)["level"] for line in printed.text.splitlines()) == shown


def test_a_reload_changes_loggers_that_exist(hub, printed):
    """A logger obtained before takes the new level and the new form."""
    set_up_logging(hub, LogSettings(level="error", format=LogFormat.HUMAN), stdout=printed)
    logger = structlog.get_logger()
    logger.info("hidden")
    set_up_logging(hub, LogSettings(level="info", format=LogFormat.JSON), stdout=printed)
    logger.info("shown")
    assert json.loads(printed.text)["event"] == "shown"


def test_a_time_stands_in_front(hub, printed):
    """``logTimeFormat`` adds a time to both forms."""
    set_up_logging(hub, LogSettings(time_format="rfc3339", format=LogFormat.JSON), stdout=printed)
    structlog.get_logger().info("x")
    at = json.loads(printed.text)["time"]
    assert len(at) >= len("2026-02-03T16:05:06Z")
    assert hub.history(PROXY).startswith(at.encode() + b" INFO")


@pytest.mark.parametrize("choice", StdoutChoice)
def test_what_is_printed(hub, printed, choice):
    """``logToStdout`` decides; the hub keeps the rest all the same."""
    set_up_logging(hub, LogSettings(to_stdout=choice, format=LogFormat.HUMAN), stdout=printed)
    structlog.get_logger().info("own")
    hub.write_upstream("m", b"theirs \x1b[1m")
    assert ("own" in printed.text, "theirs \x1b[1m\n" in printed.text) == (
        choice in ("proxy", "both"),
        choice in ("upstream", "both"),
    )
    assert b"own" in hub.history(PROXY)
    assert hub.history("m") == b"theirs \x1b[1m\n"


def test_output_of_models_is_a_record_for_machines(hub, printed):
    """In JSON a model's line is a field, so that every line of the output parses."""
    set_up_logging(hub, LogSettings(to_stdout=StdoutChoice.BOTH, format=LogFormat.JSON), stdout=printed)
    hub.write_upstream("org/m", b'said "\xff"\r\n')
    assert json.loads(printed.text) == {"level": "info", "event": "output", "model": "org/m", "line": 'said "\ufffd"'}


def test_an_exception_is_indented_and_cannot_forge_a_line(hub, printed):
    """A traceback follows its line; whatever its message says stays indented and escaped."""
    set_up_logging(hub, LogSettings(format=LogFormat.HUMAN), stdout=printed)
    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("It broke")
    head, *trace = printed.text.splitlines()
    assert head == "ERROR   It broke"
    assert all(line.startswith("    ") for line in trace)
    assert trace[-1] == "    INFO    forged \\x1b[2J"


def test_secrets_are_not_printed(hub, printed):
    """A field whose name says that it is a secret is never shown."""
    set_up_logging(hub, LogSettings(format=LogFormat.JSON), stdout=printed)
    structlog.get_logger().info("x", Authorization="Bearer s3cret", api_key="s3cret", path="/")
    assert "s3cret" not in printed.text + hub.history(PROXY).decode()
    assert json.loads(printed.text)["path"] == "/"


def test_lines_of_libraries_appear_in_our_form(hub, printed):
    """What asyncio or aiohttp complain about is in our log with its traceback, once even after a reload."""
    set_up_logging(hub, LogSettings(format=LogFormat.JSON), stdout=printed)
    set_up_logging(hub, LogSettings(format=LogFormat.JSON), stdout=printed)
    try:
        fail()
    except ValueError:
        logging.getLogger("asyncio").exception("Task %s", "died")
    logging.getLogger("aiohttp.access").info("chatter")
    (line,) = printed.text.splitlines()
    fields = json.loads(line)
    assert (fields["event"], fields["logger"], fields["level"]) == ("Task died", "asyncio", "error")
    assert "Traceback" in fields["exception"]


def test_a_closed_stdout_does_not_stop_the_service(hub, printed):
    """When the reader of our output goes away, logging goes on for the hub."""
    set_up_logging(hub, LogSettings(format=LogFormat.HUMAN), stdout=printed)
    printed.close()
    structlog.get_logger().info("still here")
    assert hub.history(PROXY) == b"INFO    still here\n"


def test_text_that_cannot_be_encoded_is_written_out(hub, printed):
    """A path with undecodable bytes does not break the log."""
    set_up_logging(hub, LogSettings(format=LogFormat.HUMAN), stdout=printed)
    structlog.get_logger().info("file \udcff")
    assert printed.text == "INFO    file \\udcff\n"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (LogFormat.HUMAN, b"[3 lines dropped: stdout was not read]\n"),
        (LogFormat.LOGFMT, b'level=warning event="lines dropped" lines=3\n'),
        (LogFormat.JSON, b'{"level": "warning", "event": "lines dropped", "lines": 3}\n'),
    ],
)
def test_dropped_lines_are_told_in_the_same_form(form, expected):
    """Where stdout was not read, machines find a record and people a remark."""
    assert _mark(form)(3) == expected
