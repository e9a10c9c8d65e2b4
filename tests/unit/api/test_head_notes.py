"""What is noted of a request's head."""

import pytest
from aiohttp.test_utils import make_mocked_request

from llama_swap.api.head_notes import NO_HEAD, raw_target, take_notes


def notes(method="POST", target="/v1/chat/completions", **headers):
    """Of a head; underscores in names stand for dashes."""
    return take_notes(make_mocked_request(method, target, headers={k.replace("_", "-"): v for k, v in headers.items()}))


@pytest.mark.parametrize(
    ("sent", "target"),
    [
        ("/v1/x?model=%41", "/v1/x?model=%41"),
        ("//x", "//x"),
        ("http://host:1/v1/x?a=b", "/v1/x?a=b"),
        ("http://host", "/"),
        ("http://host?a", "/?a"),
    ],
)
def test_target(sent, target):
    """As sent, but without the scheme and host of an absolute form."""
    assert raw_target(sent) == target


def test_what_a_model_s_server_is_asked():
    """Our own prefixes are left out."""
    head = notes(target="/v/completions?a=b")
    assert (head.target, head.upstream_target, head.path) == (
        "/v/completions?a=b",
        "/completions?a=b",
        "/v/completions",
    )


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("application/json", ""),
        ("multipart/form-data; boundary=x", "multipart/form-data"),
        ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded"),
        ("Application/X-WWW-Form-URLEncoded", "application/x-www-form-urlencoded"),
    ],
)
def test_forms(content_type, form):
    """Only they say of what kind they are."""
    assert notes(Content_Type=content_type).form == form


@pytest.mark.parametrize(
    ("method", "target", "headers", "expected"),
    [
        ("POST", "/v1/chat/completions", {}, True),
        ("POST", "/v1/images/edits", {}, True),
        ("GET", "/v1/audio/voices", {}, False),
        ("POST", "/v1/chat/completions?a", {}, False),
        ("POST", "/v1/chat/completions", {"Expect": "100-continue"}, False),
        ("POST", "/v1/models", {}, False),
    ],
)
def test_a_model_in_the_body(method, target, headers, expected):
    """The usual ones need no router; the others find their way by it."""
    assert notes(method, target, **headers).names_model_in_body is expected


def test_what_is_said_of_streams():
    """An event stream is asked for by one header, a WebSocket by two."""
    assert notes(Accept="application/json, text/event-stream").accepts_stream
    assert not notes(Accept="*/*").accepts_stream
    assert notes("GET", "/", Connection="keep-alive, Upgrade", Upgrade="websocket").wants_websocket
    assert not notes("GET", "/", Upgrade="websocket").wants_websocket


def test_words_for_the_log():
    """Without the query, which may carry secrets."""
    words = notes("GET", "/x?key=secret", User_Agent="agent/1").words
    assert (words.method, words.path, words.http, words.user_agent) == ("GET", "/x", "1.1", "agent/1")


def test_nobody_was_let_in():
    """That is for the guard to say; until then credentials stay here."""
    for head in (notes(), NO_HEAD):
        assert (head.admitted_by, head.has_our_key) == (None, True)
