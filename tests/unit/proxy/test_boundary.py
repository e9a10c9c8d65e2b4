"""Where the messages in a client's bytes end."""

from types import SimpleNamespace

import pytest

from llama_swap.proxy.boundary import MessageBoundary

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = POST + b"Content-Length: 3\r\n\r\n"


def within(*reads):
    """Whether a head has begun after these reads."""
    boundary = MessageBoundary()
    for read in reads:
        boundary.take(read)
    return boundary.is_within_head


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize("whole", [GET, SIZED + b"abc", SIZED + b"\r\n\r" + GET, GET * 3])
def test_boundary(whole, size):
    """However it is cut: nothing has begun after whole messages and blank lines, something has after a part."""
    cut = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert not within(*cut)
    assert within(*cut, b"GET /hea")
    assert not within(*cut, b"\r\n")


@pytest.mark.parametrize("last", [GET[:-2] + b"Upgrade: websocket\r\n\r\n", CHUNKED])
def test_boundary_ignores_what_follows_a_last_request(last):
    """It may be no HTTP or chunks, and it is not kept."""
    assert not within(last + b"\x81abc", b"\x82" * 1000)


def test_boundary_reads_no_number_without_end():
    """Such a request is refused, and what follows it is nothing to a boundary that must not fail."""
    assert not within(POST + b"Content-Length: " + b"9" * 10_000 + b"\r\n\r\n" + GET)


def parsed(*, body=b"", eof=True, upgrade=False):
    """What the parser makes of a request."""
    content = SimpleNamespace(total_bytes=len(body), is_eof=lambda: eof)
    return [(SimpleNamespace(upgrade=upgrade), content)]


@pytest.mark.parametrize(
    ("reads", "is_within"),
    [
        ([(GET, parsed())], False),
        ([(SIZED + b"abc", parsed(body=b"abc"))], False),
        ([(SIZED + b"\r\n\r", parsed(body=b"\r\n\r"))], False),
        ([(GET + b"GET", parsed())], True),
        ([(b"\r\n\r\n" + SIZED + b"abcG", parsed(body=b"abc"))], True),
        ([(SIZED + b"ab", parsed(body=b"ab", eof=False)), (b"c", []), (b"GET /", [])], True),
        ([(SIZED + b"ab", parsed(body=b"ab", eof=False)), (b"c" + GET, parsed()), (b"\r\n", [])], False),
        ([(GET[:-1], []), (b"\n" + SIZED, parsed(eof=False)), (b"abc", []), (b"G", [])], True),
        ([(GET[:-2] + b"Upgrade: x\r\n\r\n", parsed(upgrade=True)), (b"\x81abc", [])], False),
        ([(GET, parsed()), (GET, parsed()), (b"GET", [])], True),
    ],
)
def test_boundary_of_what_was_parsed(reads, is_within):
    """Reads of which the parser says what they are."""
    boundary = MessageBoundary()
    for data, messages in reads:
        boundary.take(data, messages)
    assert boundary.is_within_head is is_within
