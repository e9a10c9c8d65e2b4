"""front_connection: malformed requests, Expect, bodies that break or stop, the bound on connections."""

import asyncio
import json
import logging

import pytest
from aiohttp import web

from llama_swap.proxy import body
from llama_swap.proxy.body import StreamedBody, read_body
from llama_swap.proxy.exchange import Outcome, Outgoing
from llama_swap.proxy.forward import forward

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"

MALFORMED = {
    "no http": b"\x16\x03\x01<secret>\r\n\r\n",
    "http/0.9": b"GET /<secret>\r\n\r\n",
    "no host": b"GET /<secret> HTTP/1.1\r\n\r\n",
    "obs-fold": b"GET / HTTP/1.1\r\nHost: h\r\nX: <secret>\r\n a\r\n\r\n",
    "zeros": POST + b"Content-Length: " + b"0" * 30 + b"\r\n\r\n",
    "length": POST + b"Content-Length: +<secret>\r\n\r\n",
    "connect to nowhere": b"CONNECT \r\n\r\n",
    "connect": b"CONNECT <secret>:80 HTTP/1.1\r\nHost: h\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "http/1.0 chunked": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
LARGE = {
    "field": GET[:-2] + b"X: <secret>" + b"a" * 20_000 + b"\r\n\r\n",
    "number": GET[:-2] + b"X: <secret>\r\n" * 200 + b"\r\n",
}


@pytest.mark.parametrize(
    ("status", "request_bytes"),
    [(b"400", each) for each in MALFORMED.values()] + [(b"431", each) for each in LARGE.values()],
    ids=[*MALFORMED, *LARGE],
)
async def test_malformed_requests_get_our_envelope(plane, caplog, request_bytes, status):
    """One error answer in HTTP/1.1, without the input, the libraries' names or a traceback in the log; then the end."""
    caplog.set_level(logging.DEBUG)
    answer = await plane.ask(request_bytes, OK)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %b " % status)
    assert b"\r\nConnection: close\r\n" in head
    error = json.loads(body)
    assert error["src"] == "llama-swap"
    assert (error["error"]["type"], error["error"]["code"]) == ("invalid_request_error", "bad_request")
    assert not [word for word in (b"secret", b"ython", b"aiohttp", b"Server:") if word in answer]
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG or record.exc_info]
    assert plane.requests == []


async def test_malformed_request_after_a_good_one(plane, wire):
    """It ends the connection that has served well until then."""
    plane.script = wire.answer(OK)
    reader, writer = await plane.client()
    async with asyncio.timeout(10):
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"\0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_a_failing_handler_is_a_500_without_details(plane):
    """What is not caught above is still answered in our form."""

    async def handle(_request, _exchange):
        raise ValueError("secret")

    plane.on_request = handle
    answer = await plane.ask(GET)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "internal_error"


async def test_other_expectations_are_refused(plane):
    """417, and the input is not echoed."""
    answer = await plane.ask(POST + b"Connection: close\r\nContent-Length: 0\r\nExpect: <secret>\r\n\r\n", OK)
    assert answer.startswith(b"HTTP/1.1 417 ")
    assert b"secret" not in answer


EXPECTING = POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"


async def test_no_leave_to_send_for_who_is_refused(plane):
    """A handler that does not want the body sends its answer and no 100, and the connection ends with it."""

    async def handle(_request, _exchange):
        return web.Response(status=401, text="no")

    plane.on_request = handle
    reader, writer = await plane.client()
    async with asyncio.timeout(10):
        writer.write(EXPECTING)
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"Connection: close" in head
    writer.close()


async def test_leave_is_given_once_and_only_to_who_waits(plane):
    """A body that came along needs none; reading in two steps gives none twice."""

    async def handle(request, _exchange):
        await read_body(request, limit_bytes=0)
        await read_body(request, limit_bytes=0)
        return web.Response(text="done")

    plane.on_request = handle
    assert (await plane.ask(EXPECTING.replace(b"Host", b"Connection: close\r\nHost") + b"{}")).startswith(
        b"HTTP/1.1 200"
    )
    reader, writer = await plane.client()
    async with asyncio.timeout(10):
        writer.write(EXPECTING)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


BROKEN_BODIES = {
    "no size": b"zz\r\n",
    "longer than its size": b"2\r\nabc",
    "extension": b"2;\n",
    "request in the trailer": b"0\r\nGET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("rest", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
@pytest.mark.parametrize("streams", [False, True])
async def test_body_that_breaks_in_the_middle(plane, rest, streams):
    """Whoever waits for it hears of it, one answer says so, and the upstream gets no whole request."""
    begun = asyncio.Event()

    async def handle(request, exchange):
        begun.set()
        sent = StreamedBody(request, limit_bytes=0) if streams else await read_body(request, limit_bytes=0)
        return await forward(request, plane.upstream, Outgoing("POST", "/", request.raw_headers, sent, "m"), exchange)

    plane.on_request = handle
    reader, writer = await plane.client()
    async with asyncio.timeout(10):
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await begun.wait()
        writer.write(rest)
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"invalid_request" in answer
    assert b"\r\nConnection: close\r\n" in answer
    assert plane.requests == []
    writer.close()


async def test_body_that_breaks_before_it_is_read(plane):
    """The same where the request has not begun to be served."""

    async def handle(request, _exchange):
        await read_body(request, limit_bytes=0)
        return web.Response()

    plane.on_request = handle
    reader, writer = await plane.client()
    async with asyncio.timeout(10):
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        connection = plane.runner.server.connections[0]
        connection.data_received(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        connection.data_received(b"zz\r\n")
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"invalid_request" in answer
    writer.close()


@pytest.mark.parametrize("streams", [False, True])
async def test_body_that_stops(plane, monkeypatch, streams):
    """It is waited for so long and no longer, for a lease may be held meanwhile."""
    monkeypatch.setattr(body, "BODY_SECONDS", 0.1)

    async def handle(request, exchange):
        sent = StreamedBody(request, limit_bytes=0) if streams else await read_body(request, limit_bytes=0)
        return await forward(request, plane.upstream, Outgoing("POST", "/", request.raw_headers, sent, "m"), exchange)

    plane.on_request = handle
    reader, writer = await plane.client()
    async with asyncio.timeout(10):
        writer.write(POST + b"Content-Length: 100\r\n\r\na")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"did not go on" in await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split()[0]))
    assert plane.requests == []
    writer.close()


CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = POST + b"Content-Length: 3\r\n\r\n"


@pytest.mark.parametrize("first", [GET, SIZED + b"abc", CHUNKED + b"0\r\n\r\n"])
async def test_part_of_a_second_head_in_the_same_packet_is_cut(make_plane, first):
    """The deadline of the second head runs from the end of the first request."""
    async with make_plane(head_seconds=0.1) as plane:
        answer = await plane.ask(first + b"GET /hea", OK)
        assert answer.count(b"HTTP/1.1 200") == 1


async def test_beyond_the_bound_connections_are_refused(make_plane, wire):
    """At once, with a 503; when one has ended there is room again."""
    async with make_plane(max_connections=1) as plane:
        plane.script = wire.answer(OK)
        reader, writer = await plane.client()
        writer.write(GET)
        async with asyncio.timeout(5):
            await reader.readuntil(b"\r\n\r\n")
            assert (await plane.ask(b"")).startswith(b"HTTP/1.1 503 ")
            writer.close()
            while not (answer := await plane.ask(wire.get)).startswith(b"HTTP/1.1 200"):
                assert answer.startswith((b"HTTP/1.1 503 ", b"<RESET>"))


async def test_a_half_closed_client_has_left(plane):
    """A FIN ends the upstream's work, for it is what most clients that leave send (docs/decisions/0006)."""
    begun = asyncio.Event()

    async def script(peer):
        begun.set()
        await peer.gone()

    plane.script = script
    reader, writer = await plane.client()
    async with asyncio.timeout(5):
        writer.write(GET)
        await begun.wait()
        writer.write_eof()
        await plane.requests[0].closed.wait()
        assert (await plane.exchange_ended()).outcome is Outcome.CLIENT_GONE
        assert await reader.read() == b""
    writer.close()
