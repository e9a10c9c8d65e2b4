"""relay: both ends of an exchange that do not behave - slow, gone, early, stale."""

import asyncio
import socket

import pytest

from llama_swap.proxy.exchange import Outcome, Outgoing
from llama_swap.proxy.forward import forward
from llama_swap.proxy.upstream import UpstreamTimeouts

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"
KEPT = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


async def leave_when(plane, request, leaving):
    """Send a request and drop the connection when ``leaving`` is set."""
    _, writer = await plane.client()
    writer.write(request)
    async with asyncio.timeout(10):
        await leaving.wait()
    writer.transport.abort()


@pytest.mark.parametrize("first", [b"", OK, OK + b"Content-Length: 9\r\n\r\na", OK + b"\r\na"])
async def test_client_that_leaves_ends_the_upstreams_work(plane, first):
    """Before the head, within it and within the body, the upstream sees the end of its connection at once."""
    sent, noticed = asyncio.Event(), asyncio.Event()

    async def script(peer):
        await peer.send(first)
        sent.set()
        await peer.gone()
        noticed.set()

    plane.script = script
    await leave_when(plane, KEPT, sent)
    async with asyncio.timeout(5):
        await noticed.wait()
    assert (await plane.exchange_ended()).outcome is Outcome.CLIENT_GONE


async def test_client_that_leaves_while_it_uploads(plane):
    """A body that stops in the middle never reaches the upstream as a whole one."""
    _, writer = await plane.client()
    writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
    await writer.drain()
    writer.close()
    await plane.exchange_ended()
    assert plane.requests == []


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_stalled_reader_stops_the_upstream(plane, framing):
    """An answer of 64 MiB is not taken from the upstream faster than the client reads it, and arrives whole."""
    block = bytes(range(256)) * 256
    count = 1024
    written = 0
    stalled = asyncio.Event()

    async def watch(peer):
        # The upstream has stalled when nothing more can be written for a while: its own drain is what tells.
        nonlocal written
        for _ in range(count):
            data = b"%x\r\n%b\r\n" % (len(block), block) if framing == "chunked" else block
            peer.writer.write(data)
            try:
                async with asyncio.timeout(0.3 if not stalled.is_set() else 10):
                    await peer.writer.drain()
            except TimeoutError:
                stalled.set()
                await peer.writer.drain()
            written += len(block)
        if framing == "chunked":
            await peer.send(b"0\r\n\r\n")
        if framing == "close":
            peer.writer.close()

    async def script(peer):
        head = {
            "length": b"Content-Length: %d\r\n" % (len(block) * count),
            "chunked": b"Transfer-Encoding: chunked\r\n",
        }
        await peer.send(OK + head.get(framing, b"") + b"\r\n")
        await watch(peer)

    plane.script = script
    reader, writer = await plane.client()
    reader._limit = 2**16
    writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(20):
        await stalled.wait()
        # What fits into the kernel's and the streams' buffers of two connections on loopback.
        assert written < 32 * 1024 * 1024
        received = 0
        while data := await reader.read(2**20):
            received += len(data)
    assert received >= len(block) * count
    assert (await plane.exchange_ended()).outcome is Outcome.OK
    writer.close()


async def test_dead_pooled_connection_is_replaced_once(plane, wire):
    """A keep-alive connection that the upstream closes instead of answering is replaced, unseen by the client."""
    await plane.ask(wire.get, EMPTY)
    turns = ["reset", EMPTY]

    async def script(peer):
        turn = turns.pop(0)
        peer.reset() if turn == "reset" else await peer.send(turn)

    answer = await plane.ask(wire.post(b'{"a":1}'), script)
    assert answer.startswith(b"HTTP/1.1 200")
    assert [peer.body for peer in plane.requests[1:]] == [b'{"a":1}'] * 2
    assert plane.connections == 2


@pytest.mark.parametrize(("pooled", "first"), [(False, b""), (True, b"HTTP/1.1 2")])
async def test_no_retry_on_a_new_connection_or_after_the_first_byte(plane, wire, pooled, first):
    """A request is sent again only where a pooled connection died without a byte."""
    if pooled:
        await plane.ask(wire.get, EMPTY)

    async def script(peer):
        await peer.send(first)
        peer.writer.close()

    seen = len(plane.requests)
    answer = await plane.ask(wire.get, script)
    assert answer.startswith(b"HTTP/1.1 502")
    assert b"upstream_failed: model 'm': the upstream closed the connection before it answered" in answer
    assert len(plane.requests) == seen + 1


async def test_second_death_is_reported(plane, wire):
    """There is one retry, not two."""
    await plane.ask(wire.get, EMPTY)

    async def script(peer):
        peer.reset()

    assert (await plane.ask(wire.get, script)).startswith(b"HTTP/1.1 502")
    assert len(plane.requests) == 3


async def test_refused_connection_names_model_and_address(plane, wire):
    """Nobody listening is a 502 at once."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    plane.upstream = type(plane.upstream)(f"http://127.0.0.1:{port}")
    answer = await plane.ask(wire.get)
    assert f"upstream_failed: model 'm': its upstream 127.0.0.1:{port} cannot be reached".encode() in answer


async def test_header_timeout(make_plane, wire):
    """ResponseHeader bounds the wait for the head."""
    async with make_plane(UpstreamTimeouts(response_header=0.05)) as plane:

        async def script(peer):
            await peer.gone()

        answer = await plane.ask(wire.get, script)
        assert b"upstream_timeout: model 'm'" in answer


async def test_header_timeout_does_not_bound_the_body(make_plane, wire):
    """A stream may take longer than responseHeader."""
    async with make_plane(UpstreamTimeouts(response_header=1.0)) as plane:

        async def script(peer):
            await peer.send(OK + b"Content-Length: 2\r\n\r\na")
            await asyncio.sleep(1.1)
            await peer.send(b"b")

        assert (await plane.ask(wire.get, script)).endswith(b"\r\n\r\nab")


async def test_idle_connections_are_closed_in_time(make_plane, wire):
    """An unused connection is given up before the upstream would."""
    async with make_plane(UpstreamTimeouts(idle_conn=0.05)) as plane:
        await plane.ask(wire.get, EMPTY)
        async with asyncio.timeout(5):
            await plane.requests[0].closed.wait()


async def test_idle_connection_that_speaks_is_closed(plane, wire):
    """Bytes that no request asked for are nobody's answer."""
    await plane.ask(wire.get, EMPTY)
    await plane.requests[0].send(b"HTTP/1.1 200 EVIL\r\nContent-Length: 0\r\n\r\n")
    async with asyncio.timeout(5):
        await plane.requests[0].closed.wait()
    assert b"EVIL" not in await plane.ask(wire.get, EMPTY)


async def test_close_ends_idle_and_spares_busy(plane, wire):
    """After close() an idle connection ends at once, a busy one with its answer."""
    go = asyncio.Event()

    async def script(peer):
        if b"/slow" in peer.head:
            await peer.send(OK + b"Content-Length: 2\r\n\r\na")
            await go.wait()
            await peer.send(b"b")
        else:
            await peer.send(EMPTY)

    plane.script = script
    reader, writer = await plane.client()
    writer.write(b"GET /slow HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(5):
        await reader.readuntil(b"\r\n\r\n")
        await plane.ask(wire.get)
        plane.upstream.close()
        await plane.requests[-1].closed.wait()
        go.set()
        assert await reader.read() == b"ab"
        await plane.requests[0].closed.wait()
    writer.close()


async def test_early_answer_ends_the_upload(plane, wire):
    """An upstream that answers 413 and closes is heard although the client is still sending."""

    async def source():
        yield b"x" * 1000
        await asyncio.Event().wait()

    class Endless:
        length_bytes = 10**9
        replayable = False

        def chunks(self):
            return source()

    plane.outgoing = {"body": Endless()}

    async def serve(reader, writer):
        await reader.readexactly(1000)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    plane.upstream = type(plane.upstream)(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    answer = await plane.ask(b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert (await plane.exchange_ended()).outcome is Outcome.OK
    server.close()
    plane.upstream.close()


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 8_000_000])
async def test_bodies_of_all_sizes_arrive(plane, wire, size):
    """Small bodies leave with their head, large ones in slices; the bytes are the same."""
    body = bytes(size)
    answer = await plane.ask(wire.post(body), EMPTY)
    assert answer.startswith(b"HTTP/1.1 200")
    assert plane.requests[0].body == body


async def test_a_cancellation_leaves_no_doubtful_connection(plane, wire):
    """A request cancelled in the pass in which its refusal was complete: its body may still be on the connection."""

    class Cancels:
        total_bytes = 0

        def __init__(self):
            self._task = asyncio.current_task()

        def add(self, _piece):
            self._task.cancel()

    async def handle(request, exchange):
        exchange.listener = Cancels()
        body = await request.read()
        return await forward(request, plane.upstream, Outgoing("POST", "/", request.raw_headers, body, "m"), exchange)

    plane.on_request = handle
    await plane.ask(wire.post(b"{}"), b"HTTP/1.1 401 U\r\nContent-Length: 2\r\n\r\nno")
    assert (await plane.exchange_ended()).outcome is Outcome.CANCELLED
    plane.on_request = None
    assert (await plane.ask(wire.get, EMPTY)).startswith(OK)
    assert plane.connections == 2
