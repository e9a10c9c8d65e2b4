"""memory: a request's body is freed when its exchange ends, however it ends, without the garbage collector."""

import asyncio
import gc
import io
import socket
import sys
import weakref

import pytest
from aiohttp import web

from llama_swap.errors import Reason, RequestError
from llama_swap.proxy import body as body_module
from llama_swap.proxy.body import read_body
from llama_swap.proxy.early import EarlyStream
from llama_swap.proxy.exchange import Outcome, Outgoing
from llama_swap.proxy.forward import forward
from llama_swap.proxy.upstream import UpstreamTimeouts

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
STREAM = OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
KEPT = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
SMALL, LARGE = 1000, 4 * 1024 * 1024


@pytest.fixture(autouse=True)
def without_collector():
    """What is freed here is freed by its last reference."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Body:
    """One body, and who still holds it."""

    def __init__(self, size):
        self.data = bytes(size)
        self._baseline = sys.getrefcount(self.data)

    @property
    def holders(self):
        """References to it beside our own."""
        return sys.getrefcount(self.data) - self._baseline


def hold(plane, body, *, early=False):
    """Have the plane forward ``body`` on each request, and let go of it."""

    async def handle(request, exchange):
        stream = EarlyStream(request, exchange) if early else None
        outgoing = Outgoing("POST", "/", request.raw_headers, body.data, "m", early=stream)
        try:
            return await forward(request, plane.upstream, outgoing, exchange)
        except RequestError:
            return web.Response(status=502)

    plane.on_request = handle


async def settled():
    """Let connections that were aborted tell so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def chunks(peer):
    """An answer in many pieces."""
    await peer.send(CHUNKED + b"2\r\nhi\r\n" * 50 + b"0\r\n\r\n")


async def die(peer):
    """The end before the answer."""
    peer.reset()


async def die_within(peer):
    """The end within the answer."""
    await peer.send(STREAM + b"9\r\ndata")
    peer.writer.close()


ANSWERS = {
    "length": (OK + b"Content-Length: 2\r\n\r\nhi", Outcome.OK),
    "chunked": (chunks, Outcome.OK),
    "surplus": (CHUNKED + b"0\r\n\r\n" + OK, Outcome.UPSTREAM_DIED),
    "broken chunks": (CHUNKED + b"zz\r\n", Outcome.UPSTREAM_DIED),
    "broken head": (OK + b"Content-Length: 1, 1\r\n\r\n", Outcome.UPSTREAM_FAILED),
    "unasked upgrade": (b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", Outcome.UPSTREAM_FAILED),
    "interim": (b"HTTP/1.1 100 C\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n", Outcome.OK),
    "garbage": (b"garbage", Outcome.UPSTREAM_FAILED),
    "died": (die, Outcome.UPSTREAM_FAILED),
    "died within": (die_within, Outcome.UPSTREAM_DIED),
}


@pytest.mark.parametrize(("size", "early"), [(SMALL, False), (SMALL, True), (LARGE, False)], ids=["", "early", "large"])
@pytest.mark.parametrize("name", ANSWERS)
async def test_freed_after_an_answer(plane, wire, name, size, early):
    """Whatever the upstream does."""
    body = Body(size)
    hold(plane, body, early=early)
    script, outcome = ANSWERS[name]
    await plane.ask(wire.get, script)
    if early and (name == "surplus" or outcome is Outcome.OK):
        outcome = Outcome.UPSTREAM_FAILED  # none of these answers is an event stream
    assert (await plane.exchange_ended()).outcome is outcome
    await settled()
    assert body.holders == 0


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_freed_while_the_client_stays(plane, size):
    """An idle keep-alive connection of the client, and one in the pool, hold nothing."""
    body = Body(size)
    hold(plane, body)

    async def script(peer):
        await chunks(peer)

    plane.script = script
    reader, writer = await plane.client()
    async with asyncio.timeout(10):
        writer.write(KEPT)
        await reader.readuntil(b"0\r\n\r\n")
        await plane.exchange_ended()
        await settled()
        assert body.holders == 0
    writer.close()


async def test_freed_after_a_second_attempt(plane, wire):
    """The connection that had died holds nothing, and neither does the one that took its place."""
    await plane.ask(wire.get, OK + b"Content-Length: 0\r\n\r\n")
    body = Body(SMALL)
    hold(plane, body)
    await plane.ask(wire.get, die)
    await settled()
    assert len(plane.requests) == 3
    assert body.holders == 0


async def test_freed_after_a_refused_connection(plane, wire):
    """The reason why there is no connection is an exception, and its traceback knows the body."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    plane.upstream = type(plane.upstream)(f"http://localhost:{port}")
    body = Body(LARGE)
    hold(plane, body)
    await plane.ask(wire.get)
    await settled()
    assert body.holders == 0


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 2"])
async def test_freed_after_a_timeout(make_plane, wire, first):
    """Before and within the head."""
    async with make_plane(UpstreamTimeouts(response_header=0.05)) as plane:
        body = Body(SMALL)
        hold(plane, body)

        async def script(peer):
            await peer.send(first)
            await peer.gone()

        await plane.ask(wire.get, script)
        await settled()
        assert body.holders == 0


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 2", OK + b"Content-Length: 9\r\n\r\na", CHUNKED + b"1\r\na\r\n"])
async def test_freed_after_the_client_left(plane, first, size):
    """In each state of the exchange."""
    body = Body(size)
    hold(plane, body)
    sent = asyncio.Event()

    async def script(peer):
        await peer.send(first)
        sent.set()
        await peer.gone()

    plane.script = script
    _, writer = await plane.client()
    async with asyncio.timeout(10):
        writer.write(KEPT)
        await sent.wait()
        writer.transport.abort()
        assert (await plane.exchange_ended()).outcome is Outcome.CLIENT_GONE
        await plane.requests[0].closed.wait()
    await settled()
    assert body.holders == 0


async def test_freed_after_the_client_left_while_it_is_sent(plane, wire):
    """The upstream does not read, so most of the body is still ours."""
    body = Body(8 * LARGE)
    hold(plane, body)
    connected = asyncio.Event()

    async def accept(reader, writer):
        reader._transport.pause_reading()
        connected.set()
        await plane.ended.wait()
        writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    plane.upstream = type(plane.upstream)(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    _, writer = await plane.client()
    async with asyncio.timeout(10):
        writer.write(KEPT)
        await connected.wait()
        writer.transport.abort()
        assert (await plane.exchange_ended()).outcome is Outcome.CLIENT_GONE
    await settled()
    assert body.holders == 0
    server.close()


@pytest.mark.parametrize("by", ["cancel", "forward"])
async def test_freed_after_a_cancellation(plane, by):
    """We end it ourselves: before the answer and within it."""
    body = Body(SMALL)
    tasks = []
    begun = asyncio.Event()

    async def handle(request, exchange):
        tasks.append(asyncio.current_task())
        outgoing = Outgoing("POST", "/", request.raw_headers, body.data, "m")
        return await forward(request, plane.upstream, outgoing, exchange)

    async def script(peer):
        if by == "forward":
            await peer.send(STREAM + b"9\r\ndata: 1\n\n\r\n")
        begun.set()
        await peer.gone()

    plane.on_request, plane.script = handle, script
    reader, writer = await plane.client()
    async with asyncio.timeout(10):
        writer.write(KEPT)
        await begun.wait()
        if by == "forward":
            await reader.readuntil(b"data: 1")
        tasks.pop().cancel()
        assert (await plane.exchange_ended()).outcome is Outcome.CANCELLED
        await reader.read()
        await plane.requests[0].closed.wait()
    await settled()
    assert body.holders == 0
    writer.close()


@pytest.mark.parametrize("framing", [b"Content-Length: 20000000", b"Transfer-Encoding: chunked"])
async def test_half_a_body_is_freed_when_the_client_leaves(plane, monkeypatch, framing):
    """What was read of an upload that is aborted goes with it."""
    buffers = []

    class Watched(io.BytesIO):
        def __init__(self):
            super().__init__()
            buffers.append(weakref.ref(self))

    monkeypatch.setattr(body_module.io, "BytesIO", Watched)
    begun = asyncio.Event()

    async def handle(request, exchange):
        begun.set()
        return web.Response(body=await read_body(request, limit_bytes=0))

    plane.on_request = handle
    _, writer = await plane.client()
    async with asyncio.timeout(10):
        part = b"186A0\r\n" + bytes(100_000) + b"\r\n"
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % framing + part * 20)
        await writer.drain()
        await begun.wait()
        writer.close()
        await plane.ended.wait()
    await settled()
    assert len(buffers) == 1
    assert buffers[0]() is None


def test_an_error_that_is_kept_knows_no_frames():
    """What the request log remembers of an error is what it says, without where it was raised."""
    error = RequestError(Reason.UPSTREAM_FAILED, "m", retry_after_seconds=2)
    error.__cause__ = OSError("refused")
    kept = error.without_traceback()
    assert (kept.reason, kept.message, kept.retry_after_seconds) == (Reason.UPSTREAM_FAILED, "m", 2)
    assert kept.__traceback__ is kept.__cause__ is kept.__context__ is None
