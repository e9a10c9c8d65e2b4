"""The line of a request in every format, as whoever reads stdout gets it."""

import json
import shlex

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llama_swap.logs import PROXY, LogFormat, LogHub, LogSettings, RequestRecord, StdoutChoice, set_up_logging

CHAT = RequestRecord(
    *("127.0.0.1", "POST", "/v1/chat/completions", "1.1", 200, 4096, 'agent "x" 1.0', 2450.44, "org/m", "alias"),
    queue_ms=12.0,
    load_ms=2000.6,
    first_byte_ms=2310.0,
)


@pytest.fixture
def hub():
    """A fresh hub."""
    return LogHub()


def pairs(line):
    """The ``key=value`` pairs of a line."""
    return dict(word.split("=", 1) for word in shlex.split(line))


@pytest.mark.parametrize("time_format", ["", "rfc3339"])
def test_logfmt_says_what_json_says(hub, printed, time_format):
    """The same fields in the same order, whatever a client sent."""
    for form in (LogFormat.LOGFMT, LogFormat.JSON):
        set_up_logging(hub, LogSettings(format=form, time_format=time_format), stdout=printed)
        hub.log_request(CHAT)
    logfmt, fields = printed.text.splitlines()
    expected = {key: str(value) for key, value in json.loads(fields).items()}
    found = pairs(logfmt)
    assert list(found) == list(expected)
    assert found | {"time": ""} == expected | {"time": ""}
    assert ("time" in found) == bool(time_format)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("%d%", "/%s/%(x)s", "{0}%")
@given(st.text(max_size=200), st.text(), st.text(min_size=1))
def test_what_a_client_sends_is_only_text(printed, agent, path, name):
    """Signs of formats too: the fields are what was sent, and people get one line."""
    hub = LogHub()
    set_up_logging(hub, LogSettings(format=LogFormat.JSON), stdout=printed)
    hub.log_request(msgspec.structs.replace(CHAT, user_agent=agent, path=path, requested=name))
    fields = json.loads(printed.text.splitlines()[-1])
    assert (fields["user_agent"], fields["path"]) == (agent, path.partition("?")[0])
    assert (fields["requested"], fields["bytes"]) == (name, 4096)
    assert len(hub.history(PROXY).splitlines()) == 1


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.LOGFMT, LogFormat.HUMAN])
def test_requests_of_one_kind_differ_in_their_numbers(hub, printed, form):
    """What the line of the last such request said is not said again."""
    set_up_logging(hub, LogSettings(format=form), stdout=printed)
    hub.log_request(CHAT)
    hub.log_request(msgspec.structs.replace(CHAT, sent_bytes=17, total_ms=99.0, queue_ms=1.0, load_ms=2.0))
    hub.log_request(msgspec.structs.replace(CHAT, total_ms=98.0, first_byte_ms=None))
    hub.log_request(CHAT)
    first, second, third, fourth = printed.text.splitlines()
    assert first == fourth
    assert all(number in second for number in ("17", "99", "1", "2", "2310"))
    assert "98" in third
    assert "first" not in third
    assert len(set(hub.history(PROXY).splitlines())) == 3


def test_a_failure_is_coloured_for_people(hub, printed, monkeypatch):
    """On a terminal the line is the one of the hub, in the colour of its level."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    printed.terminal = True
    set_up_logging(hub, LogSettings(), stdout=printed)
    hub.log_request(RequestRecord("::1", "GET", "/x", "1.1", 502, 0, "", 1.0))
    assert printed.text == f"\x1b[33m{hub.history(PROXY).decode().strip()}\x1b[0m\n"


def test_a_line_that_is_not_printed_is_kept(hub, printed):
    """``logToStdout: none`` silences stdout, not the log's readers."""
    set_up_logging(hub, LogSettings(to_stdout=StdoutChoice.NONE), stdout=printed)
    hub.log_request(CHAT)
    assert not printed.text
    assert b"Request 127.0.0.1" in hub.history(PROXY)


@pytest.mark.parametrize(("level", "shown"), [("debug", True), ("info", False), ("error", False)])
def test_whoever_has_many_debug_lines_can_ask_first(hub, printed, level, shown):
    """The hub knows whether lines for debugging are written."""
    set_up_logging(hub, LogSettings(level=level), stdout=printed)
    assert hub.shows_debug == shown


def test_without_logging_nothing_is_written(hub):
    """A hub alone, as tools and tests use it, takes a request without a line."""
    hub.log_request(CHAT)
    assert not hub.history(PROXY)
