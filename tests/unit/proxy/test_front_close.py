"""The end of the listening side: who is waited for, and for how long."""

import asyncio

import pytest
from aiohttp import web

from llama_swap.proxy import front
from llama_swap.proxy.early import EarlyStream
from llama_swap.proxy.exchange import Outcome, Outgoing
from llama_swap.proxy.forward import forward

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


async def test_close_lets_requests_finish(make_plane):
    """Idle connections end at once, no new ones are accepted, the request in service gets its whole answer."""
    async with make_plane() as plane:
        go, begun = asyncio.Event(), asyncio.Event()

        async def script(peer):
            if b"/slow" in peer.head:
                begun.set()
                await go.wait()
            await peer.send(OK)

        plane.script = script
        idle, idle_writer = await plane.client()
        busy, busy_writer = await plane.client()
        async with asyncio.timeout(5):
            idle_writer.write(GET)
            await idle.readuntil(b"\r\n\r\n")
            busy_writer.write(GET.replace(b"/ ", b"/slow "))
            await begun.wait()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(front.close(plane.runner, [plane.server], budget_seconds=5))
                assert await idle.read() == b""
                go.set()
                assert (await busy.read()).startswith(b"HTTP/1.1 200")
            with pytest.raises(ConnectionRefusedError):
                await plane.client()
        idle_writer.close()
        busy_writer.close()


@pytest.mark.parametrize("passes", range(4))
async def test_close_while_an_answer_is_sent(make_plane, passes):
    """Its connection was already past the look whether it is the last one, and does not wait for another yet."""
    async with make_plane() as plane, asyncio.timeout(5), asyncio.TaskGroup() as tasks:

        class Slow(web.Response):
            async def write_eof(self, data=b""):
                await super().write_eof(data)
                closing = front.close(plane.runner, [plane.server], budget_seconds=60)
                tasks.create_task(closing)
                for _ in range(passes):  # of the event loop, before the answer is over
                    await asyncio.sleep(0)

        async def handle(request, exchange):
            return Slow(text="whole")

        plane.on_request = handle
        reader, writer = await plane.client()
        writer.write(GET)
        assert (await reader.read()).endswith(b"whole")
        writer.close()


async def test_close_lets_those_be_answered_that_wait_for_nothing(make_plane):
    """At the end of the budget, and only if anybody is left by then."""
    async with make_plane() as plane, asyncio.timeout(5):
        begun, told = asyncio.Event(), asyncio.Event()

        async def handle(request, exchange):
            begun.set()
            await told.wait()
            return web.Response(status=503, text="it ends")

        plane.on_request = handle
        reader, writer = await plane.client()
        writer.write(GET)
        await begun.wait()
        await front.close(plane.runner, [plane.server], budget_seconds=0.05, before_cut=told.set)
        answer = await reader.read()
        assert (answer[:12], answer[-7:]) == (b"HTTP/1.1 503", b"it ends")
        told.clear()
        await front.close(plane.runner, [plane.server], budget_seconds=0.05, before_cut=told.set)
        assert not told.is_set()
        writer.close()


@pytest.mark.parametrize("early", [False, True])
async def test_close_cuts_what_outlasts_the_budget(make_plane, early):
    """An event stream gets its error event and no clean end; the exchange was cancelled, its client has not left."""
    async with make_plane() as plane:

        async def handle(request, exchange):
            stream = EarlyStream(request, exchange) if early else None
            outgoing = Outgoing("GET", "/", request.raw_headers, None, "m", early=stream)
            return await forward(request, plane.upstream, outgoing, exchange)

        async def script(peer):
            await peer.send(STREAM + b"9\r\ndata: 1\n\n\r\n")
            await peer.gone()

        plane.on_request, plane.script = handle, script
        reader, writer = await plane.client()
        async with asyncio.timeout(5):
            writer.write(GET)
            await reader.readuntil(b"data: 1\n\n\r\n")
            await front.close(plane.runner, [plane.server], budget_seconds=0.05)
            rest = await reader.read()
            await plane.requests[0].closed.wait()
        assert b"the service is shutting down" in rest
        assert not rest.endswith(b"0\r\n\r\n")
        assert (await plane.exchange_ended()).outcome is Outcome.CANCELLED
        writer.close()


async def test_close_does_not_wait_for_a_stalled_reader(make_plane):
    """Neither for its answer nor for what is buffered for it."""
    async with make_plane() as plane:
        block = bytes(1024 * 1024)
        begun = asyncio.Event()

        async def script(peer):
            begun.set()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1000 * len(block)))
            for _ in range(1000):
                await peer.send(block)

        plane.script = script
        reader, writer = await plane.client()
        reader._transport.pause_reading()
        writer.write(GET)
        async with asyncio.timeout(10):
            await begun.wait()
            async with asyncio.timeout(2):
                await front.close(plane.runner, [plane.server], budget_seconds=0.05)
            assert (await plane.exchange_ended()).outcome is Outcome.CANCELLED
        writer.transport.abort()
