"""front: the listening side's limits, and the names of aiohttp that the data plane leans on."""

import asyncio
import contextlib

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol

from llama_swap.proxy import body, front
from llama_swap.proxy.forward import RelayedResponse

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize("part", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: h\r\n"])
async def test_slow_heads_are_cut(make_plane, part):
    """A head that does not come, or stops in the middle, ends the connection."""
    async with make_plane(head_seconds=0.1) as plane:
        assert await plane.ask(part) == b""


async def test_slow_head_after_a_request_is_cut(make_plane, wire):
    """The deadline holds for each request of a connection."""
    async with make_plane(head_seconds=0.1) as plane:
        plane.script = wire.answer(OK)
        reader, writer = await plane.client()
        async with asyncio.timeout(5):
            writer.write(REQUEST)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"GET / HT")
            assert await reader.read() == b""
        writer.close()


async def test_head_that_drips_is_cut(make_plane):
    """The deadline is for the whole head: a byte now and then does not move it."""
    async with make_plane(head_seconds=0.15) as plane:
        reader, writer = await plane.client()
        async with asyncio.timeout(5):
            while not reader.at_eof():
                writer.write(b"G")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(), 0.02)
        writer.close()


async def test_deadline_ends_with_the_head(make_plane):
    """A request that takes longer than the deadline, and an idle connection after it, are left alone."""
    async with make_plane(head_seconds=0.05) as plane:

        async def script(peer):
            await asyncio.sleep(0.15)
            await peer.send(OK)

        plane.script = script
        reader, writer = await plane.client()
        async with asyncio.timeout(5):
            for _ in range(2):
                writer.write(REQUEST)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
    ],
)
async def test_large_heads_are_refused(plane, wire, request_bytes):
    """A head beyond the limits is a 431 and reaches no upstream."""
    answer = await plane.ask(request_bytes, OK)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert plane.requests == []


def test_malloc_settings_are_harmless():
    """They are taken on glibc and refused without an error elsewhere."""
    assert front.tune_malloc() in {True, False}


def test_run_gives_the_result():
    """run() runs the service's coroutine to its end."""

    async def main():
        return type(asyncio.get_running_loop()).__module__

    assert front.run(main).startswith(("uvloop", "asyncio"))


async def test_private_names_of_aiohttp():
    """What the data plane uses beside aiohttp's documentation; if this fails, read relay.py, websocket.py, front.py."""
    server = web.Server(lambda request: None)
    connection = front.FrontConnection(server, head_seconds=1, loop=asyncio.get_running_loop())
    assert connection._waiter is connection._task_handler is None
    assert connection._manager is server
    assert connection._force_close is False
    assert len(connection._messages) == 0
    assert connection._request_handler == connection._admit
    assert web.RequestHandler(server, loop=asyncio.get_running_loop())._request_handler is server.request_handler
    app = web.Application()
    route = app.router.add_get("/", body.expect_later)
    front.make_runner(app)
    assert route.handle_expect_header.__self__._expect_handler is body.expect_later
    assert connection._paused is False
    connection.pause_writing()
    assert connection._paused is True
    connection.resume_writing()
    assert connection._paused is False
    assert connection._reading_paused is False
    content = StreamReader(connection, 1024, loop=asyncio.get_running_loop())
    content.feed_data(b"body")
    assert content._buffer.popleft() == b"body"
    content.feed_eof()
    assert content.at_eof()
    assert content.read_nowait() == b""
    assert callable(connection.set_parser)
    assert callable(connection.force_close)
    assert issubclass(web.RequestHandler, BaseProtocol)


async def test_relayed_response_writes_nothing():
    """Aiohttp's two calls at the end of a handler find nothing to do, and it obeys keep_alive."""
    response = RelayedResponse(206, closes=False)
    assert response.status == 206
    assert response.prepared
    assert response.keep_alive is True
    assert await response.prepare(None) is None
    assert await response.write_eof() is None
    assert RelayedResponse(200, closes=True).keep_alive is False
