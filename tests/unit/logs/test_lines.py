"""The line of a request and the line of a decision, as people and as machines read them."""

import json

import msgspec
import pytest
import structlog

from llama_swap.logs import (
    PROXY,
    LogFormat,
    LogHub,
    LogSettings,
    RequestRecord,
    RequestWords,
    log_decision,
    set_up_logging,
)


def get(target, status=200, agent="agent/1.0"):
    """A request without a model."""
    return RequestRecord(RequestWords.of("127.0.0.1", "GET", target, "1.1", agent), status, 57, 1.6)


LIST_MODELS = get("/v1/models")
CHAT = RequestRecord(
    RequestWords.of("127.0.0.1", "POST", "/v1/chat/completions", "1.1", "openai"),
    *(200, 4096, 2450.4, "org/m", "alias"),
    queue_ms=12.0,
    load_ms=2000.6,
    first_byte_ms=2310.0,
)


@pytest.fixture
def log(printed):
    """A logger; ``log.human()`` and ``log.fields()`` give its last line."""

    class Log:
        def __init__(self, level="info"):
            self.hub = LogHub()
            set_up_logging(self.hub, LogSettings(level=level, format=LogFormat.JSON), stdout=printed)
            self.logger = structlog.get_logger()

        def human(self):
            return self.hub.history(PROXY).decode().splitlines()[-1]

        def fields(self):
            return json.loads(printed.text.splitlines()[-1])

    return Log


def test_a_request_in_words(log):
    """Address, request line, status, bytes and user agent stand in llama-swap's order."""
    it = log()
    it.hub.log_request(LIST_MODELS)
    assert it.human().endswith('Request 127.0.0.1 "GET /v1/models HTTP/1.1" 200 57 "agent/1.0" total=2ms')


def test_a_request_to_a_model_in_words(log):
    """With a model the line says where the time went."""
    it = log()
    it.hub.log_request(CHAT)
    assert it.human().endswith(
        '200 4096 "openai" total=2450ms model=org/m requested=alias queue=12ms load=2001ms first=2310ms'
    )


def test_a_request_as_fields(log):
    """Machines get numbers."""
    it = log()
    it.hub.log_request(CHAT)
    assert it.fields() == {
        "level": "info",
        "event": "request",
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/v1/chat/completions",
        "http": "1.1",
        "status": 200,
        "bytes": 4096,
        "user_agent": "openai",
        "total_ms": 2450.4,
        "outcome": "ok",
        "model": "org/m",
        "requested": "alias",
        "queue_ms": 12.0,
        "load_ms": 2000.6,
        "first_byte_ms": 2310.0,
    }


def test_a_request_that_never_started_has_no_such_times(log):
    """Times that never came are left out, and the outcome is named."""
    it = log()
    record = msgspec.structs.replace(CHAT, status=499, outcome="client_gone", load_ms=None, first_byte_ms=None)
    it.hub.log_request(record)
    assert it.human().endswith("queue=12ms outcome=client_gone")
    assert not {"load_ms", "first_byte_ms"} & set(it.fields())


def test_a_client_cannot_forge_a_line(log):
    """Newlines, escapes and quotes in anything a client sent stay inside their field."""
    it = log()
    evil = "x\nRequest 10.0.0.1\x1b[2J"
    words = RequestWords.of("::1", "POST", "/" + evil, "1.1", evil + '" 200')
    it.hub.log_request(msgspec.structs.replace(CHAT, words=words, requested=evil))
    assert len(it.hub.history(PROXY).splitlines()) == 1
    assert "\x1b" not in it.human()
    assert '\\nRequest 10.0.0.1\\x1b[2J\\" 200"' in it.human()


def test_the_query_string_is_not_logged(log):
    """A key that somebody put into the address does not reach the log, in any format."""
    it = log()
    it.hub.log_request(get("/v1/models?api_key=secret"))
    assert "secret" not in it.human() + json.dumps(it.fields())


def test_giant_fields_are_cut(log):
    """A client cannot fill the log with one header."""
    it = log()
    it.hub.log_request(get("/" + "p" * 9999, agent="u" * 9999))
    assert len(it.human()) < 1500
    assert len(json.dumps(it.fields())) < 2000


@pytest.mark.parametrize(
    ("path", "status", "level", "shown"),
    [
        ("/v1/models", 200, "info", True),
        ("/v1/models", 404, "info", True),
        ("/v1/models", 404, "warn", False),
        ("/v1/models", 502, "warn", True),
        ("/health", 200, "info", False),
        ("/health", 200, "debug", True),
        ("/metrics", 401, "info", True),
    ],
)
def test_levels_of_requests(log, path, status, level, shown):
    """Failures of the server are warnings, probes that went well are only shown for debugging."""
    it = log(level)
    it.hub.log_request(get(path, status))
    assert bool(it.hub.history(PROXY)) == shown


def test_a_decision(log):
    """What is done, to which model and run of it, and why."""
    it = log()
    log_decision(it.logger, "start", model="m", because="2 requests wait for it", instance_id=7)
    assert it.human().endswith("Start m (instance 7): 2 requests wait for it")
    assert it.fields() == {
        "level": "info",
        "event": "decision",
        "action": "start",
        "model": "m",
        "instance": 7,
        "because": "2 requests wait for it",
    }


def test_a_routine_decision_is_for_debugging(log):
    """A grant happens for each request and is not shown by default."""
    it = log()
    log_decision(it.logger, "grant", model="m", because="it is ready", instance_id=7, request_id=9, routine=True)
    assert it.hub.history(PROXY) == b""
    it = log("debug")
    log_decision(it.logger, "grant", model="m", because="it is ready", instance_id=7, request_id=9, routine=True)
    assert it.human().endswith("Grant m (instance 7, request 9): it is ready")
