"""headers: what travels through a proxy, and that nothing can be injected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.errors import Reason, RequestError
from llama_swap.proxy import headers

FIELD = st.tuples(st.binary(min_size=1, max_size=10), st.binary(max_size=20))


@given(first=st.binary(max_size=10), fields=st.lists(FIELD, max_size=5))
def test_no_head_has_more_lines_than_headers(first, fields):
    """Whatever names and values hold, a head that is written has one line for each; else it is refused."""
    try:
        head = headers.serialize(first + b"\r\n", fields)
    except RequestError as error:
        assert error.reason is Reason.INVALID_REQUEST  # noqa: PT017 - either outcome is right
        return
    lines = head.split(b"\r\n")
    assert lines == [first, *(b"%b: %b" % field for field in fields), b"", b""]
    assert not any(b"\n" in line or b"\r" in line or b"\0" in line for line in lines)


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/a b"), ("GET", "/a\r\nX: y"), ("GET", "*"), ("GET", "http://h/"), ("GET", ""), ("G T", "/"), ("", "/")],
)
def test_request_lines_that_could_be_misread_are_refused(method, target):
    """The target is a path without spaces or control characters, the method a token."""
    with pytest.raises(RequestError):
        headers.request_line(method, "", target)


def test_prefix_of_the_upstream_goes_before_the_target():
    """A base URL may carry a path."""
    assert headers.request_line("GET", "/base", "/x?y") == b"GET /base/x?y HTTP/1.1\r\n"


def test_host_is_filled_in_and_never_nominated_away():
    """A request of HTTP/1.0 gets a Host; `Connection: host` takes none off."""
    options = {"authority": "up:1", "remote": None, "dropped": (), "length_bytes": None}
    assert headers.request_headers([], method="GET", **options) == [(b"Host", b"up:1")]
    sent = headers.request_headers(
        [(b"Host", b"h"), (b"Connection", b"Host, x"), (b"X", b"1")], method="GET", **options
    )
    assert sent == [(b"Host", b"h")]
    assert headers.request_headers([], method="POST", **options)[-1] == (b"Content-Length", b"0")


@pytest.mark.parametrize("readable", [False, True])
def test_what_connection_names_stays_here(readable):
    """Also what we would pass changed, and wherever it stands."""
    given = [
        (b"X-Hop", b"1"),
        (b"connection", b"keep-alive, x-hop"),
        (b"Host", b"h"),
        (b"Connection", b"Accept-Encoding"),
    ]
    options = {"authority": "up:1", "remote": "1.2.3.4", "dropped": (), "length_bytes": None, "readable": readable}
    sent = headers.request_headers(given, method="GET", **options)
    assert sent == [(b"Host", b"h"), (b"X-Forwarded-For", b"1.2.3.4")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"text/event-stream", True), (b"Text/Event-Stream; charset=utf-8", True), (b"application/json", False)],
)
def test_event_streams_are_not_to_be_buffered(value, expected):
    """X-Accel-Buffering is ours on event streams and absent elsewhere."""
    sent = dict(headers.response_headers([(b"content-type", value), (b"x-accel-buffering", b"yes")]))
    assert sent.get(b"X-Accel-Buffering") == (b"no" if expected else None)


def test_added_response_headers_replace():
    """A header that is added takes the place of the upstream's."""
    sent = headers.response_headers(
        [(b"access-control-allow-origin", b"*")], added=[("Access-Control-Allow-Origin", "x")]
    )
    assert sent == [(b"Access-Control-Allow-Origin", b"x")]


def test_date():
    """RFC 9110 §5.6.7."""
    assert headers.http_date(0) == b"Thu, 01 Jan 1970 00:00:00 GMT"
