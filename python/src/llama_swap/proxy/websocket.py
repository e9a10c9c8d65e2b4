"""WebSockets through ``/upstream``: the handshake is relayed, then bytes pass raw in both directions."""

import asyncio
from time import monotonic

from aiohttp import web
from msgspec import structs

from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.answer import MAX_HEAD_BYTES, BadAnswerError, read_head
from llama_swap.proxy.connection import UpstreamConnection
from llama_swap.proxy.exchange import Exchange, Outcome, Outgoing
from llama_swap.proxy.forward import RelayedResponse, connect, forward_on, has_left
from llama_swap.proxy.headers import response_headers, serialize
from llama_swap.proxy.heads import check_beginning
from llama_swap.proxy.sent_head import request_head
from llama_swap.proxy.upstream import Upstream

_SWITCHING = 101
_HEAD_END = b"\r\n\r\n"
_UPGRADE = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))


def wants_websocket(request: web.BaseRequest) -> bool:
    """Whether the client asks to switch to WebSocket (RFC 6455 §4.1); other protocols are not tunnelled."""
    if "Upgrade" not in request.headers:
        return False
    tokens = {token.strip().lower() for token in request.headers.get("Connection", "").split(",")}
    return "upgrade" in tokens and request.headers.get("Upgrade", "").strip().lower() == "websocket"


class _Tunnel:
    """Both directions of one WebSocket; given to aiohttp as the parser of what the client sends."""

    __slots__ = ("_client", "_connection", "_exchange", "_protocol", "over", "wake")

    def __init__(self, request: web.BaseRequest, connection: UpstreamConnection, exchange: Exchange) -> None:
        client = request.transport
        if client is None:
            raise ConnectionResetError("the client has left")
        self._client = client
        self._protocol = request.protocol
        self._connection = connection
        self._exchange = exchange
        self.over = False
        self.wake: asyncio.Future[None] | None = None

    # From the upstream to the client.

    def take(self, data: bytes) -> None:
        """Pass what the upstream sent."""
        if self._client.is_closing():
            self.end()
            return
        self._client.write(data)
        self._exchange.response_bytes += len(data)
        if self._protocol._paused:  # noqa: SLF001 - public only since aiohttp 3.11; pinned by a test
            self._connection.pause_reading()
            self._wake_up()

    def lost(self, _error: Exception | None) -> None:
        """The upstream has closed."""
        self.end()

    def end(self) -> None:
        """One side has closed: close the other."""
        self.over = True
        self._wake_up()

    def _wake_up(self) -> None:
        if self.wake is not None and not self.wake.done():
            self.wake.set_result(None)

    # From the client to the upstream: the names are those that aiohttp calls.

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Pass what the client sent."""
        self._connection.write(data)
        if self._connection.is_congested and not self._client.is_closing():
            self._client.pause_reading()
            self._connection.on_writable = self._read_on
        return False, b""

    def _read_on(self) -> None:
        if not self._client.is_closing():
            self._client.resume_reading()

    def feed_eof(self) -> None:
        """The client has closed."""
        self.end()


async def tunnel(
    request: web.Request, upstream: Upstream, outgoing: Outgoing, exchange: Exchange
) -> web.StreamResponse:
    """Relay a WebSocket handshake and, if the upstream agrees, the connection; else its answer is forwarded.

    Raises:
        RequestError: as :func:`llama_swap.proxy.forward.forward`.
    """
    # A handshake has no body, whatever the client says: a length without it would swallow what comes first.
    head = request_head(request, upstream, structs.replace(outgoing, body=None), _UPGRADE)
    try:
        connection = await connect(upstream, outgoing)
        try:
            connection.write(head)
            exchange.was_sent = True
            exchange.upstream_sent_at = monotonic()
            data = await _wait_head(connection, upstream, outgoing)
            if not data.startswith(b"HTTP/1.1 101 "):
                return await forward_on(request, upstream, outgoing, exchange, connection=connection, received=data)
            return await _run(request, connection, data, outgoing, exchange)
        finally:
            connection.close()
    except RequestError as error:
        exchange.outcome, exchange.detail = Outcome.UPSTREAM_FAILED, error.message
        raise
    except asyncio.CancelledError:
        ours = Outcome.CLIENT_GONE if has_left(request) else Outcome.CANCELLED
        exchange.outcome = Outcome.OK if exchange.status == _SWITCHING else ours
        raise
    finally:
        exchange.finished_at = monotonic()


async def _wait_head(connection: UpstreamConnection, upstream: Upstream, outgoing: Outgoing) -> bytes:
    """What the upstream sends, up to the read that completes a head.

    Raises:
        RequestError: UPSTREAM_FAILED or UPSTREAM_TIMEOUT.
    """
    done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    received = bytearray()

    def take(data: bytes) -> None:
        received.extend(data)
        if not done.done() and (_HEAD_END in received or len(received) > MAX_HEAD_BYTES or _is_hopeless(received)):
            connection.pause_reading()
            done.set_result(bytes(received))

    def lost(_error: Exception | None) -> None:
        if not done.done():
            done.set_result(b"")

    connection.on_data = take
    connection.on_lost = lost
    try:
        async with asyncio.timeout(upstream.timeouts.response_header or None):
            data = await done
    except TimeoutError as error:
        message = f"model {outgoing.model!r}: the upstream did not begin to answer in time"
        raise RequestError(Reason.UPSTREAM_TIMEOUT, message) from error
    if _HEAD_END not in data:
        raise RequestError(
            Reason.UPSTREAM_FAILED, f"model {outgoing.model!r}: the upstream did not answer the WebSocket handshake"
        )
    return data


def _is_hopeless(received: bytearray) -> bool:
    try:
        check_beginning(bytes(received))
    except BadAnswerError:
        return True
    return False


async def _run(
    request: web.BaseRequest, connection: UpstreamConnection, data: bytes, outgoing: Outgoing, exchange: Exchange
) -> web.StreamResponse:
    head_bytes, _, first = data.partition(_HEAD_END)
    try:
        head = read_head(head_bytes + _HEAD_END, "GET")
    except BadAnswerError as error:
        raise RequestError(Reason.UPSTREAM_FAILED, f"model {outgoing.model!r}: {error}") from error
    tunnel = _Tunnel(request, connection, exchange)
    connection.on_data = tunnel.take
    connection.on_lost = tunnel.lost
    exchange.status, exchange.headers, exchange.first_byte_at = head.status, head.headers, monotonic()
    answer = [*response_headers(head.headers, added=outgoing.response_headers), *_UPGRADE]
    tunnel.take(serialize(b"HTTP/1.1 101 Switching Protocols\r\n", answer) + first)
    exchange.response_bytes = len(first)
    request.protocol.set_parser(tunnel)  # type: ignore[arg-type] # only feed_data and feed_eof are called
    connection.resume_reading()
    while not tunnel.over:
        tunnel.wake = asyncio.get_running_loop().create_future()
        await tunnel.wake
        if not tunnel.over:
            try:
                await request.writer.drain()
            except ConnectionError:
                break
            connection.resume_reading()
    exchange.outcome = Outcome.OK
    return RelayedResponse(head.status, closes=True)
