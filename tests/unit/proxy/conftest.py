"""A whole data plane on loopback: a raw client, the front, and an upstream that plays a script byte for byte."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from llama_swap.errors import RequestError
from llama_swap.proxy import front
from llama_swap.proxy.body import read_body
from llama_swap.proxy.forward import Exchange, Outgoing, forward
from llama_swap.proxy.upstream import Upstream, UpstreamTimeouts

try:
    import uvloop
except ImportError:
    uvloop = None

Script = Callable[["Peer"], Awaitable[None]]
DEADLINE = 10


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories():
    """Every asynchronous test here runs on asyncio's own loop and on uvloop, where pytest-asyncio (1.4) can do that."""
    return {"asyncio": asyncio.new_event_loop} | ({"uvloop": uvloop.new_event_loop} if uvloop else {})


@dataclass
class Peer:
    """One request that the upstream received, and the connection to answer it on."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes
    body: bytes
    closed: asyncio.Event

    async def send(self, data: bytes) -> None:
        """Send bytes of an answer."""
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Return when the other side has closed; for the script that answers, others wait for ``closed``."""
        with contextlib.suppress(ConnectionError):
            await self.reader.read()

    def reset(self) -> None:
        """Drop the connection."""
        self.writer.transport.abort()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The request's headers with lower-case names."""
        lines = self.head.decode("latin-1").split("\r\n")[1:-2]
        return [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]


@dataclass
class Heard:
    """Keeps the pieces of all bodies that it hears."""

    pieces: list[bytes] = field(default_factory=list)
    total_bytes: int = 0

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        self.total_bytes += len(piece)
        self.pieces.append(piece)

    def mark(self) -> Callable[[], None]:
        """Returns how to forget what is heard from now on."""
        before = len(self.pieces), self.total_bytes

        def forget() -> None:
            del self.pieces[before[0] :]
            self.total_bytes = before[1]

        return forget


@dataclass
class Plane:
    """What a test sees."""

    url: str
    port: int
    upstream: Upstream
    runner: web.AppRunner
    server: asyncio.Server
    exchanges: list[Exchange] = field(default_factory=list)
    heard: Heard = field(default_factory=Heard)
    requests: list[Peer] = field(default_factory=list)
    connections: int = 0
    script: Script | None = None
    outgoing: dict = field(default_factory=dict)
    on_request: Callable | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def client(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw connection to the front."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def exchange_ended(self) -> Exchange:
        """The last exchange, once its handler has returned."""
        async with asyncio.timeout(DEADLINE):
            await self.ended.wait()
        return self.exchanges[-1]

    async def ask(self, request: bytes, script: Script | bytes | None = None) -> bytes:
        """Send one raw request on a connection of its own; everything that comes back until the end of file."""
        if script is not None:
            self.script = answer(script) if isinstance(script, bytes) else script
        async with asyncio.timeout(DEADLINE):
            reader, writer = await self.client()
            writer.write(request)
            received = b""
            try:
                while data := await reader.read(65536):
                    received += data
            except ConnectionResetError:
                received += b"<RESET>"
            finally:
                writer.close()
            return received


def answer(data: bytes) -> Script:
    """A script that sends these bytes and keeps the connection."""

    async def script(peer: Peer) -> None:
        await peer.send(data)

    return script


GET = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def post(body: bytes, extra: bytes = b"", path: bytes = b"/") -> bytes:
    """A raw POST that asks for the connection to be closed."""
    head = b"POST %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n%b\r\n"
    return head % (path, len(body), extra) + body


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """One whole request: its head and its body without framing."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = head.lower().split(b"\r\n")
    length = next((int(line.split(b":")[1]) for line in fields if line.startswith(b"content-length:")), 0)
    body = await reader.readexactly(length)
    if b"transfer-encoding: chunked" in fields:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            await reader.readuntil(b"\r\n")
        await reader.readuntil(b"\r\n")
    return head, body


async def serve_upstream(plane, reader, writer):
    """One connection to the upstream: every request on it is played the script."""
    plane.connections += 1
    closed = asyncio.Event()
    try:
        while True:
            peer = Peer(reader, writer, *await read_request(reader), closed)
            plane.requests.append(peer)
            await plane.script(peer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        closed.set()
        writer.close()


async def respond(plane, request):
    """What the front does with a request: forwards it, unless the test has something else in mind."""
    exchange = Exchange(listener=plane.heard)
    plane.exchanges.append(exchange)
    try:
        if plane.on_request is not None:
            return await plane.on_request(request, exchange)
        body = await read_body(request, limit_bytes=0) if request.body_exists else None
        fields = {"method": request.method, "target": request.raw_path, "body": body, **plane.outgoing}
        outgoing = Outgoing(headers=request.raw_headers, model="m", **fields)
        return await forward(request, plane.upstream, outgoing, exchange)
    except RequestError as error:
        return web.Response(status=502, text=f"{error.reason}: {error.message}")
    finally:
        plane.ended.set()


@contextlib.asynccontextmanager
async def running_plane(timeouts: UpstreamTimeouts | None = None, **listen) -> AsyncIterator[Plane]:
    """Upstream and front for one test."""
    plane: Plane

    async def handle(request):
        return await respond(plane, request)

    upstream_server = await asyncio.start_server(lambda *streams: serve_upstream(plane, *streams), "127.0.0.1", 0)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = front.make_runner(app, shutdown_timeout=0.1)
    await runner.setup()
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    server = await front.listen(runner, sock, **listen)
    upstream = Upstream(f"http://127.0.0.1:{upstream_server.sockets[0].getsockname()[1]}", timeouts)
    plane = Plane(f"http://127.0.0.1:{port}", port, upstream, runner, server)
    try:
        yield plane
    finally:
        plane.upstream.close()
        server.close()
        await runner.cleanup()
        upstream_server.close()
        for peer in plane.requests:
            peer.writer.close()


@pytest.fixture
async def plane():
    """A data plane whose upstream plays ``plane.script``."""
    async with running_plane() as running:
        yield running


@pytest.fixture
def make_plane():
    """The same with options."""
    return running_plane


@pytest.fixture
def wire():
    """The helpers that tests of raw bytes need."""

    class Wire:
        get = GET
        post = staticmethod(post)
        answer = staticmethod(answer)

    return Wire
