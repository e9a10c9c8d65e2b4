"""Connections that must end with a request: towards the upstream and towards the client."""

import asyncio
import contextlib

import pytest
from aiohttp import web

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "answer", "expected"),
    [
        (b"", OK, (1, False)),
        (b"", REFUSED, (1, False)),
        (b'{"a": 1}', OK, (1, False)),
        (b' \r\n\t{"a": 1}', OK, (1, False)),
        (b'{"a": 1}', REFUSED, (2, False)),
        (b"[1]", OK, (2, True)),
        (HIDDEN, OK, (2, True)),
        (b"\r\n" + HIDDEN, REFUSED, (2, True)),
    ],
)
async def test_body_that_might_be_left_on_the_connection(plane, wire, body, answer, expected):
    """An upstream is asked to close after what could be read as a request; a refused body is followed by nothing."""
    connections, says_close = expected
    for _ in range(2):
        await plane.ask(wire.post(body), answer)
    assert [(("connection", "close") in each.headers) for each in plane.requests] == [says_close] * 2
    assert plane.connections == connections


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
async def test_connection_ends_with_a_wish_to_switch(plane, wire, protocol):
    """The answer says so; of a request in the same packet nothing is done, as whoever sent it is told thereby."""
    answer = await plane.ask(UPGRADE % protocol + HIDDEN, OK)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert [each.head.split()[1] for each in plane.requests] == [b"/"]


async def test_connection_ends_with_a_wish_to_switch_that_we_answer(plane):
    """The same for answers of our own."""

    async def handle(_request, _exchange):
        return web.Response(text="no")

    plane.on_request = handle
    answer = await plane.ask(UPGRADE % b"websocket" + HIDDEN)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"no")


async def test_half_a_request_behind_a_wish_to_switch(plane, wire):
    """What is left of it in the next packet is not taken for a request that begins there."""
    plane.script = wire.answer(OK)
    reader, writer = await plane.client()
    async with asyncio.timeout(5):
        writer.write(UPGRADE % b"h2c" + b"GET /second HTTP/1.1\r\nHost: h\r\nX: ")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(HIDDEN)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    assert len(plane.requests) == 1
    writer.close()


async def test_trailers_are_no_headers_of_the_next_request(plane):
    """The connection ends with a body in chunks: aiohttp would take them for that, and a proxy may mix its clients."""
    chunked = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Trailer: y\r\n\r\n"
    answer = await plane.ask(chunked + HIDDEN, OK)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert len(plane.requests) == 1
