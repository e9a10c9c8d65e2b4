"""Our two parsers on a loop of their own without a network, and h11 as the second opinion on what they understand."""

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from types import SimpleNamespace

import h11
from aiohttp import HttpVersion10, HttpVersion11, web
from h11 import _abnf, _readers

from llama_swap.errors import RequestError
from llama_swap.proxy.body import read_body
from llama_swap.proxy.connection import UpstreamConnection
from llama_swap.proxy.exchange import Exchange, Outcome, Outgoing
from llama_swap.proxy.forward import forward
from llama_swap.proxy.front import server_options
from llama_swap.proxy.front_connection import FrontConnection
from llama_swap.proxy.repeated import RepeatedHead
from llama_swap.proxy.upstream import UpstreamTimeouts

_LIMIT_BYTES = 1024 * 1024
# RFC 9112 allows to take several spaces for one here (§3), and to ignore the reason phrase (§4); h11 does neither.
_REQUEST_LINE = re.compile(rb"\A([!-~]+) +([!-~\x80-\xff]+) +(?=HTTP/1\.[01]\r\n)")
_REASON = re.compile(rb"\A(HTTP/1\.[01] \d{3} )[^\r\n]*")
# A chunk's size may have any number of leading zeros (§7.1); h11 takes 20 digits.
_readers.chunk_header_re = re.compile(_abnf.chunk_header.replace("{1,20}", "+").encode())


class DisagreementError(AssertionError):
    """We understand something that h11 understands otherwise, or not at all."""


@dataclass(frozen=True)
class Request:
    """What a request means."""

    method: bytes
    target: bytes
    version: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What an answer means; one without an end has a part of its body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    complete: bool


class MemoryTransport(asyncio.Transport):
    """The other side of a connection: keeps what is written to it."""

    def __init__(self, protocol):
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.closed = False

    def write(self, data):
        """Keep it; what is written after the end is a defect."""
        if not self.closed:
            self.written += data

    def is_closing(self):
        """Part of asyncio."""
        return self.closed

    def close(self):
        """The connection is lost in the next pass of the loop, as with any transport."""
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def pause_reading(self):
        """Part of asyncio."""

    resume_reading = pause_reading


def _comparable(headers):
    """Header fields with what may be written in different ways written in one (aiohttp 3.13 keeps spaces behind)."""
    pairs = [(bytes(name).lower(), bytes(value).rstrip(b" \t")) for name, value in headers]
    return tuple((name, value.lower() if name == b"transfer-encoding" else value) for name, value in pairs)


async def _settle():
    """Return when nothing can go on without the network."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    while loop._ready:  # noqa: ASYNC110 - that nothing is left to do is no event
        await asyncio.sleep(0)


# Requests.


async def understand(pieces):
    """The requests that our front understands in these reads of one connection, and all that it answers."""
    understood = []

    async def handle(request):
        try:
            body = await read_body(request, limit_bytes=_LIMIT_BYTES) if request.body_exists else b""
        except RequestError as error:
            return web.Response(status=400, text=error.message)
        version = b"%d.%d" % request.version
        headers = _comparable(request.raw_headers)
        understood.append(Request(request.method.encode(), request.raw_path.encode(), version, headers, body))
        return web.Response()

    server = web.Server(handle)
    connection = FrontConnection(server, loop=asyncio.get_running_loop(), head_seconds=1000, **server_options_of_one())
    transport = MemoryTransport(connection)
    connection.connection_made(transport)
    for piece in pieces:
        if not transport.closed:
            connection.data_received(piece)
        await _settle()
    transport.close()
    await _settle()
    return understood, bytes(transport.written)


def server_options_of_one():
    """The options of a connection among those of the server."""
    return {
        name: value for name, value in server_options().items() if name not in {"handler_cancellation", "tcp_keepalive"}
    }


def second_opinion(data):
    """The requests that h11 understands in the bytes of one connection; blank lines before a request are nothing to us.

    Whether a connection of HTTP/1.0 ends after a request is not asked: h11 always ends it.
    """
    found = []
    with contextlib.suppress(h11.RemoteProtocolError):
        while data := data.lstrip(b"\r\n"):
            connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LIMIT_BYTES)
            connection.receive_data(_REQUEST_LINE.sub(rb"\1 \2 ", data))
            request = _read_request(connection)
            if request is None:
                break
            found.append(request)
            if connection.their_state is not h11.DONE and request.version != b"1.0":
                break
            data, _ = connection.trailing_data
    return found


def _read_request(connection):
    """The request at the beginning of a connection of h11; None where it is incomplete."""
    request, body = connection.next_event(), b""
    if not isinstance(request, h11.Request):
        return None
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    if not isinstance(event, h11.EndOfMessage):
        return None
    head = bytes(request.method), bytes(request.target), bytes(request.http_version), _comparable(request.headers)
    return Request(*head, body)


async def check_requests(pieces):
    """Raise DisagreementError unless h11 understands every request as we do; returns what we understood."""
    ours, written = await understand(pieces)
    theirs = second_opinion(b"".join(pieces))
    if ours != theirs[: len(ours)]:
        raise DisagreementError(f"{ours}\nis not the beginning of\n{theirs}")
    if written.count(b" 200 OK\r\n") != len(ours):
        raise DisagreementError(f"{len(ours)} requests are answered by {written!r}")
    return ours


# Answers.


@dataclass
class Relayed:
    """What became of an answer: what the client got, and what our notes say."""

    written: bytes
    exchange: Exchange
    error: RequestError | None
    pieces: list[bytes] = field(default_factory=list)


@dataclass
class Heard:
    """Keeps the pieces of a body that it hears."""

    pieces: list[bytes]
    total_bytes: int = 0

    def add(self, piece):
        """Take the next piece."""
        self.total_bytes += len(piece)
        self.pieces.append(piece)

    def mark(self):
        """Returns how to forget what is heard from now on."""
        kept, total_bytes = len(self.pieces), self.total_bytes

        def forget():
            del self.pieces[kept:]
            self.total_bytes = total_bytes

        return forget


async def relay(pieces, *, method=b"GET", modern=True, answers=None):
    """Forward a request to an upstream that sends these reads and then closes; ``answers`` has read others before."""
    client = MemoryTransport(SimpleNamespace(connection_lost=lambda _: None))
    request = SimpleNamespace(
        transport=client,
        version=HttpVersion11 if modern else HttpVersion10,
        protocol=SimpleNamespace(_paused=False),
        keep_alive=modern,
        content=SimpleNamespace(is_eof=lambda: True),
        headers={},
        path="/v1/chat/completions",
        remote=None,
    )
    connection = UpstreamConnection()
    connection.answers = answers or connection.answers
    wire = MemoryTransport(connection)
    connection.connection_made(wire)

    upstream = SimpleNamespace(
        authority="h", prefix="", timeouts=UpstreamTimeouts(), take_idle=lambda: connection, release=lambda _: None
    )
    result = Relayed(b"", Exchange(), None)
    result.exchange.listener = Heard(result.pieces)
    outgoing = Outgoing(method.decode(), "/", [(b"Host", b"h")], None, "m")

    async def serve():
        try:
            await forward(request, upstream, outgoing, result.exchange)
        except RequestError as error:
            result.error = error

    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve())
        await _settle()
        for piece in pieces:
            if not wire.closed:
                connection.data_received(piece)
            await _settle()
        wire.close()
        await serving
    result.written = bytes(client.written)
    return result


def read_answer(data, *, method=b"GET"):
    """The final answer that h11 reads in bytes after which the connection ends; None where it reads none."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LIMIT_BYTES)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    interim = re.match(rb"(?:HTTP/1\.[01] 1(?!01)\d\d(?: |(?=\r\n))(?:[^\r]|\r(?!\n\r\n))*\r\n\r\n)*", data)[0]
    data = _REASON.sub(rb"\1", data.removeprefix(interim))
    if data:
        connection.receive_data(data)
    connection.receive_data(b"")
    head, body, complete = None, b"", False
    with contextlib.suppress(h11.RemoteProtocolError):
        while not complete:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                complete = True
            elif not isinstance(event, h11.InformationalResponse):
                break
    if head is None:
        return None
    return Answer(head.status_code, _comparable(head.headers), body, complete)


async def check_answer(pieces, *, method=b"GET", modern=True):
    """Raise DisagreementError unless the client is told what h11 reads in the upstream's bytes, or that it failed.

    Also when the connection has sent the same before.
    """
    answers = RepeatedHead()
    await _check_answer(pieces, method=method, modern=modern, answers=answers)
    return await _check_answer(pieces, method=method, modern=modern, answers=answers)


async def _check_answer(pieces, *, method, modern, answers):
    relayed = await relay(pieces, method=method, modern=modern, answers=answers)
    if relayed.error is not None:
        if relayed.written:
            raise DisagreementError(f"an error after {relayed.written!r}")
        return relayed
    theirs, told = read_answer(b"".join(pieces), method=method), read_answer(relayed.written, method=method)
    if theirs is None or told is None or theirs.status != told.status:
        raise DisagreementError(f"{theirs} was told as {told}")
    if relayed.exchange.outcome is Outcome.OK:
        if not (theirs.complete and told.complete) or theirs.body != told.body:
            raise DisagreementError(f"{theirs} was told as {told}")
        if b"".join(relayed.pieces) != theirs.body:
            raise DisagreementError(f"{theirs} was noted as {relayed.pieces}")
    elif told.complete and modern:
        raise DisagreementError(f"an answer that failed ({relayed.exchange.outcome}) ends cleanly: {told}")
    return relayed
