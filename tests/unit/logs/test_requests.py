"""The line of a request in every format, as whoever reads stdout gets it."""

import asyncio
import json
import shlex

import msgspec
import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llama_swap.logs import (
    COMBINED,
    PROXY,
    LogFormat,
    LogHub,
    LogSettings,
    RequestRecord,
    RequestWords,
    StdoutChoice,
    set_up_logging,
)

CHAT = RequestRecord(
    RequestWords.of("127.0.0.1", "POST", "/v1/chat/completions", "1.1", 'agent "x" 1.0'),
    *(200, 4096, 2450.44, "org/m", "alias"),
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
@example("", "/health", "0")
@given(st.text(max_size=200), st.text(), st.text(min_size=1))
def test_what_a_client_sends_is_only_text(printed, agent, path, name):
    """Signs of formats too: the fields are what was sent, and people get one line."""
    hub = LogHub()
    set_up_logging(hub, LogSettings(level="debug", format=LogFormat.JSON), stdout=printed)
    hub.log_request(
        msgspec.structs.replace(CHAT, words=RequestWords.of("::1", "POST", path, "1.1", agent), requested=name)
    )
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
    hub.log_request(RequestRecord(RequestWords.of("::1", "GET", "/x", "1.1", ""), 502, 0, 1.0))
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


class Writes:
    """A stdout that remembers what came together."""

    def __init__(self):
        self.pieces = []

    def isatty(self):
        """A file or a pipe."""
        return False

    def fileno(self):
        """Nothing that the kernel knows."""
        raise OSError

    def flush(self):
        """Nothing is held back."""

    def write(self, piece):
        """Take what was printed."""
        self.pieces.append(piece.decode())


@pytest.fixture
def writes(printed):
    """A stdout for one test, cleaned up as ``printed`` is."""
    assert printed is not None
    return Writes()


def requests(count):
    """Finished requests that can be told apart by their length."""
    return [msgspec.structs.replace(CHAT, sent_bytes=number) for number in range(count)]


def sizes(text):
    """The lengths that lines tell, in order."""
    return [int(pairs(line)["bytes"]) for line in text.splitlines()]


async def test_requests_that_end_together_are_printed_together(hub, writes):
    """In the next pass of the loop, in their order, and for readers of the log one by one."""
    set_up_logging(hub, LogSettings(format=LogFormat.LOGFMT), stdout=writes)
    heard = []
    hub.forward(PROXY, heard.append)
    for record in requests(3):
        hub.log_request(record)
    assert not writes.pieces
    await asyncio.sleep(0)
    (piece,) = writes.pieces
    assert sizes(piece) == [0, 1, 2]
    assert len(heard) == 3
    assert b"".join(heard) == hub.history(PROXY) == hub.history(COMBINED)
    hub.log_request(CHAT)
    await asyncio.sleep(0)
    assert sizes(writes.pieces[1]) == [4096]


async def test_a_failure_is_printed_at_once(hub, writes):
    """With what came before it: nobody knows how much longer the service runs."""
    set_up_logging(hub, LogSettings(format=LogFormat.LOGFMT), stdout=writes)
    hub.log_request(CHAT)
    hub.log_request(msgspec.structs.replace(CHAT, status=502, sent_bytes=7))
    assert [sizes(piece) for piece in writes.pieces] == [[4096, 7]]


async def test_other_lines_come_behind_the_requests_before_them(hub, writes):
    """Of the service, of models, and after a reload of the settings: the order is that of the events."""
    set_up_logging(hub, LogSettings(format=LogFormat.LOGFMT, to_stdout=StdoutChoice.BOTH), stdout=writes)
    hub.log_request(CHAT)
    structlog.get_logger().info("own")
    hub.log_request(CHAT)
    hub.write_upstream("m", b"theirs")
    hub.log_request(CHAT)
    set_up_logging(hub, LogSettings(format=LogFormat.HUMAN), stdout=writes)
    hub.log_request(CHAT)
    await asyncio.sleep(0)
    words = ["event=request", "event=own", "event=request", "theirs", "event=request", "Request"]
    assert len(writes.pieces) == len(words)
    assert all(word in piece for word, piece in zip(words, writes.pieces, strict=True))
    kept = [b"Request", b"own", b"Request", b"theirs", b"Request", b"Request"]
    assert all(word in line for word, line in zip(kept, hub.history(COMBINED).splitlines(), strict=True))


async def test_who_looks_sees_every_request_that_is_over(hub, writes):
    """The kept lines are complete at any moment, and who follows gets none that was before."""
    set_up_logging(hub, LogSettings(), stdout=writes)
    hub.log_request(CHAT)
    assert hub.history(PROXY).count(b"Request") == 1
    hub.log_request(CHAT)
    heard = []
    hub.forward(PROXY, heard.append)
    hub.log_request(CHAT)
    with hub.subscribe(PROXY) as lines:
        hub.log_request(CHAT)
        assert (await anext(lines)).count(b"Request") == 1
    assert len(heard) == 2


async def test_whoever_follows_gets_the_last_request(hub, writes):
    """Also one that ends in the pass in which the log is closed."""
    set_up_logging(hub, LogSettings(), stdout=writes)
    with hub.subscribe(PROXY) as lines:
        hub.log_request(CHAT)
        hub.close()
        assert [piece.count(b"Request") async for piece in lines] == [1]


async def test_not_many_lines_are_gathered(hub, writes):
    """However many requests end in one pass."""
    set_up_logging(hub, LogSettings(format=LogFormat.LOGFMT), stdout=writes)
    for record in requests(1000):
        hub.log_request(record)
    assert sum(len(sizes(piece)) for piece in writes.pieces) > 900
    await asyncio.sleep(0)
    assert sizes("".join(writes.pieces)) == list(range(1000))


def test_no_line_is_lost_at_the_end(hub, writes):
    """What ends in the loop's last pass is printed before the loop is gone, whether it ends well or in an error."""
    set_up_logging(hub, LogSettings(format=LogFormat.LOGFMT), stdout=writes)

    async def last():
        hub.log_request(CHAT)

    async def failing():
        hub.log_request(CHAT)
        raise KeyboardInterrupt

    asyncio.run(last())
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(failing())
    assert sizes("".join(writes.pieces)) == [4096, 4096]
