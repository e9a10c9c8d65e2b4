"""websocket: the handshake and raw bytes in both directions."""

import asyncio

import pytest

from llama_swap.proxy.exchange import Outcome, Outgoing
from llama_swap.proxy.websocket import tunnel, wants_websocket

SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)
UPGRADE = (
    b"GET /ws?x=1 HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer k\r\n\r\n"
)


@pytest.fixture
def socket_plane(plane):
    """A plane that tunnels what asks for it."""

    async def on_request(request, exchange):
        assert wants_websocket(request)
        dropped = frozenset({"authorization"})
        outgoing = Outgoing("GET", request.raw_path, request.raw_headers, None, "m", drop_headers=dropped)
        return await tunnel(request, plane.upstream, outgoing, exchange)

    plane.on_request = on_request
    return plane


async def test_bytes_pass_both_ways(socket_plane):
    """The upgrade headers travel, credentials do not, and then every byte does, whatever it is."""

    async def script(peer):
        await peer.send(SWITCH + b"\x81early")
        while data := await peer.reader.read(100):
            await peer.send(data.upper())

    socket_plane.script = script
    reader, writer = await socket_plane.client()
    async with asyncio.timeout(10):
        writer.write(UPGRADE)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Upgrade: websocket\r\n" in head
        assert b"Sec-WebSocket-Accept: x\r\n" in head
        assert await reader.readexactly(6) == b"\x81early"
        for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\x00\xffabc"):
            writer.write(sent)
            assert await reader.readexactly(len(sent)) == sent.upper()
    sent = dict(socket_plane.requests[0].headers)
    assert socket_plane.requests[0].head.startswith(b"GET /ws?x=1 HTTP/1.1\r\n")
    assert (sent["connection"], sent["upgrade"], sent["sec-websocket-key"]) == ("Upgrade", "websocket", "k")
    assert "authorization" not in sent
    writer.close()
    assert (await socket_plane.exchange_ended()).outcome is Outcome.OK
    async with asyncio.timeout(10):
        await socket_plane.requests[0].closed.wait()


async def test_upstream_that_closes_closes_the_client(socket_plane):
    """What was sent before the end arrives, then the end."""

    async def script(peer):
        await peer.send(SWITCH + b"bye" * 100_000)
        peer.writer.close()

    answer = await socket_plane.ask(UPGRADE, script)
    assert answer.partition(b"\r\n\r\n")[2] == b"bye" * 100_000


async def test_a_handshake_has_no_body(plane):
    """A length that nothing follows would let the upstream take the first frames for it."""

    async def on_request(request, exchange):
        outgoing = Outgoing("GET", request.raw_path, request.raw_headers, b"body", "m")
        return await tunnel(request, plane.upstream, outgoing, exchange)

    plane.on_request = on_request
    await plane.ask(UPGRADE, b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
    assert {"content-length", "transfer-encoding"}.isdisjoint(dict(plane.requests[0].headers))


async def test_refused_handshake_is_an_ordinary_answer(socket_plane):
    """Without a 101 the upstream's answer is forwarded, and the connection ends."""
    refusal = b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno"
    answer = await socket_plane.ask(UPGRADE, refusal)
    assert answer.startswith(b"HTTP/1.1 400 Bad\r\n")
    assert b"Connection: close\r\n" in answer
    assert answer.endswith(b"no")


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 101", b"x" * 70_000])
async def test_upstream_that_does_not_answer(socket_plane, sent):
    """No handshake is a 502."""

    async def script(peer):
        await peer.send(sent)
        peer.writer.close()

    assert b"upstream_failed: model 'm'" in await socket_plane.ask(UPGRADE.replace(b"keep-alive", b"close"), script)


async def test_stalled_sides_hold_each_other_back(socket_plane):
    """A side that does not read stops the other one, and nothing is lost."""
    size = 48 * 1024 * 1024
    go = asyncio.Event()

    async def script(peer):
        await peer.send(SWITCH)
        await go.wait()
        received = 0
        while received < size:
            received += len(await peer.reader.read(2**20))
        await peer.send(b"%d" % received)

    socket_plane.script = script
    reader, writer = await socket_plane.client()
    writer.write(UPGRADE)
    async with asyncio.timeout(20):
        await reader.readuntil(b"\r\n\r\n")
        block = bytes(65536)
        written = 0
        try:
            async with asyncio.timeout(0.5):
                while True:
                    writer.write(block)
                    written += len(block)
                    await writer.drain()
        except TimeoutError:
            pass
        assert written < 32 * 1024 * 1024
        go.set()
        while written < size:
            writer.write(block)
            written += len(block)
            await writer.drain()
        assert await reader.readexactly(8) == b"%d" % size
    writer.close()


@pytest.mark.parametrize("sent", [b"\0\1", b"HTTP/1.1 101 S\nUpgrade: websocket\n\n"])
async def test_upstream_that_answers_garbage(socket_plane, sent):
    """It is not waited for, although it keeps its connection."""
    answer = await socket_plane.ask(UPGRADE.replace(b"keep-alive", b"close"), sent)
    assert b"upstream_failed: model 'm'" in answer
