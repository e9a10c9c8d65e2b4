"""Forward one request to one upstream and stream the answer back.

Who is told what when something fails: before the answer's head the caller gets a :class:`RequestError` and answers
itself; after it the client has bytes of an answer, which is then never ended cleanly (see :mod:`.truncation`).
"""

import asyncio
import re
from time import monotonic

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.connection import UpstreamConnection
from llama_swap.proxy.early import EarlyStream
from llama_swap.proxy.exchange import BodySource, Exchange, Outcome, Outgoing, is_replayable
from llama_swap.proxy.relay import Ending, Relay
from llama_swap.proxy.sent_head import request_head
from llama_swap.proxy.truncation import end_cut_short, last_event, reset, send_last_event
from llama_swap.proxy.upstream import Upstream

__all__ = ["BodySource", "Exchange", "Outcome", "Outgoing", "RelayedResponse", "forward"]

_SMALL_BODY_BYTES = 64 * 1024
_REFUSED = 400
_LAST = ((b"Connection", b"close"),)
_OBJECT = re.compile(rb"\s*+\{")

# Python 3.11 takes a detour to a member of an enumeration, and each request comes by these.
_COMPLETE, _CUT_SHORT, _NO_ANSWER = Ending.COMPLETE, Ending.CUT_SHORT, Ending.NO_ANSWER
_OK = Outcome.OK


class RelayedResponse(web.StreamResponse):
    """Tells aiohttp that the answer is on the wire already: it writes nothing, and keeps or closes the connection."""

    # There is one for each request, and what aiohttp's own __init__ makes is for heads that aiohttp writes.
    _headers = CIMultiDictProxy[str](CIMultiDict())  # type: ignore[assignment] # so nobody can add to them
    _reason = ""

    def __init__(self, status: int, *, closes: bool) -> None:
        self._status = status
        self._closes = closes

    def force_close(self) -> None:
        """End the client's connection after this answer."""
        self._closes = True

    @property
    def prepared(self) -> bool:
        """The head has been sent."""
        return True

    @property
    def keep_alive(self) -> bool:
        """Whether the client's connection goes on."""
        return not self._closes

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to do."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to do."""


async def forward(
    request: web.Request, upstream: Upstream, outgoing: Outgoing, exchange: Exchange
) -> web.StreamResponse:
    """Send ``outgoing`` and stream the answer to the client of ``request``.

    A pooled connection that the upstream had closed before its first byte of an answer is replaced once, if the body
    can be sent again. When the client leaves, the upstream's connection is aborted at once.

    Raises:
        RequestError: UPSTREAM_FAILED or UPSTREAM_TIMEOUT, only while nothing was sent to the client;
            INVALID_REQUEST where the request cannot be written without ambiguity.
    """
    hides = _could_hide_request(outgoing.body)
    head = request_head(request, upstream, outgoing, _LAST if hides else ())
    relay: Relay | None = None
    try:
        relay = await _attempt(request, upstream, outgoing, exchange, head=head, hides=hides, pooled=True)
        if relay is None:
            relay = await _attempt(request, upstream, outgoing, exchange, head=head, hides=hides, pooled=False)
        assert relay is not None  # noqa: S101 - only a pooled connection asks for another attempt
        if relay.ending is _CUT_SHORT:
            await _ask_why(relay, exchange)
        return _conclude(request, relay, outgoing, exchange)
    except RequestError as error:
        ours = error.reason in {Reason.UPSTREAM_FAILED, Reason.UPSTREAM_TIMEOUT}
        exchange.outcome = Outcome.UPSTREAM_FAILED if ours else Outcome.CLIENT_GONE
        exchange.detail = error.message
        raise
    except BaseException:
        exchange.outcome = Outcome.CLIENT_GONE if has_left(request) else Outcome.CANCELLED
        raise
    finally:
        if relay is not None:
            relay.dispose()
        exchange.finished_at = monotonic()


def has_left(request: web.BaseRequest) -> bool:
    """Whether the client is gone."""
    return request.transport is None or request.transport.is_closing()


def _could_hide_request(body: bytes | BodySource | None) -> bool:
    """Whether a body could be read as requests by an upstream that answers without taking it off its connection.

    llama-server did that when it refused a key, until its HTTP library learnt to drain bodies (2026). So unless a body
    is a JSON object, which begins as no request can, the upstream is told that nothing follows.
    """
    return bool(body) and not (isinstance(body, bytes) and _OBJECT.match(body))


async def connect(upstream: Upstream, outgoing: Outgoing) -> UpstreamConnection:
    """A new connection, or the reason why there is none as an error for the client."""
    try:
        return await upstream.connect()
    except TimeoutError as error:
        message = f"model {outgoing.model!r}: no connection to its upstream {upstream.authority} in time"
        raise RequestError(Reason.UPSTREAM_TIMEOUT, message) from error
    except OSError as error:
        message = f"model {outgoing.model!r}: its upstream {upstream.authority} cannot be reached: {error}"
        raise RequestError(Reason.UPSTREAM_FAILED, message) from error


async def _attempt(  # noqa: PLR0913 - the parameters of forward and what differs between the attempts
    request: web.BaseRequest,
    upstream: Upstream,
    outgoing: Outgoing,
    exchange: Exchange,
    *,
    head: bytes,
    hides: bool,
    pooled: bool,
) -> Relay | None:
    """One request on one connection; None where another attempt may be made.

    ``hides`` is whether its body could be read as a request.
    """
    exchange.upstream_sent_at = None
    connection = (upstream.take_idle() if pooled else None) or await connect(upstream, outgoing)
    relay: Relay | None = None
    reusable = False
    try:
        relay = Relay(request, connection, outgoing, exchange)
        body, sent, exchange.was_sent = outgoing.body, True, True
        if body is None or (isinstance(body, bytes) and len(body) <= _SMALL_BODY_BYTES):
            connection.write(head + body if body else head)
            exchange.upstream_sent_at = monotonic()
        else:
            sent = await _send_long(connection, relay, head, body, exchange)
        await _follow(request, upstream, relay)
        # Of a body that the upstream may not have taken, a piece could be what it answers next.
        taken = not body or (sent and not hides and exchange.status < _REFUSED)
        reusable = taken and relay.reusable and relay.ending is _COMPLETE
    except BaseException as error:
        if relay is not None:
            if isinstance(error, asyncio.CancelledError):
                _cut_off(request, relay, outgoing, str(error) or "the request was cancelled")
            relay.dispose()
        raise
    finally:
        if reusable:
            upstream.release(connection)
        else:
            connection.abort()
            connection.detach()
    if relay.ending is _NO_ANSWER and connection.reused and not relay.heard and is_replayable(outgoing.body):
        relay.dispose()
        return None
    return relay


def _cut_off(request: web.BaseRequest, relay: Relay, outgoing: Outgoing, why: str) -> None:
    """We end an answer ourselves (shutdown, an operator): tell a client that still listens, where the framing allows.

    The caller's handler is being cancelled, and aiohttp closes the connection after that.
    """
    if relay.ending is not None or relay.head is None or has_left(request):
        return
    event = last_event(request.path, f"model {outgoing.model!r}: {why}", code="request_cancelled")
    if outgoing.early is not None:
        outgoing.early.send(event)
    elif not send_last_event(request, relay.head, event, relay.missing_of_chunk) and request.transport is not None:
        reset(request.transport)


async def forward_on(  # noqa: PLR0913 - as above
    request: web.BaseRequest,
    upstream: Upstream,
    outgoing: Outgoing,
    exchange: Exchange,
    *,
    connection: UpstreamConnection,
    received: bytes,
) -> web.StreamResponse:
    """Stream the answer to a refused upgrade, whose first bytes were read already; both connections end with it.

    (aiohttp before 3.13 reads no further request on a connection that has asked for an upgrade.)
    """
    relay = Relay(request, connection, outgoing, exchange)
    try:
        relay.closes = True
        connection.data_received(received)
        connection.resume_reading()
        await _follow(request, upstream, relay)
        if relay.ending is _CUT_SHORT:
            await _ask_why(relay, exchange)
        return _conclude(request, relay, outgoing, exchange)
    finally:
        connection.detach()
        relay.dispose()


async def _send_long(
    connection: UpstreamConnection, relay: Relay, head: bytes, body: bytes | BodySource, exchange: Exchange
) -> bool:
    """Write a request piece by piece; whether all of it was sent, which an early answer may have made pointless."""
    if not isinstance(body, bytes):
        connection.write(head)
        return await _send_source(connection, relay, body, exchange)
    await connection.write_large(head, body)
    exchange.upstream_sent_at = monotonic()
    return True


async def _send_source(connection: UpstreamConnection, relay: Relay, body: BodySource, exchange: Exchange) -> bool:
    chunked = body.length_bytes is None
    try:
        async with relay.progress.while_running():
            async for piece in body.chunks():
                if piece:
                    connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                    await connection.wait_writable()
            if chunked:
                connection.write(b"0\r\n\r\n")
            exchange.upstream_sent_at = monotonic()
            return True
    except (RequestError, ConnectionError):
        if relay.head is None:
            raise
        # The client has bytes of an answer already, so the caller must not write another one.
        relay.leave()
    return False


async def _follow(request: web.BaseRequest, upstream: Upstream, relay: Relay) -> None:
    """Wait for the end of the answer, and for the client wherever it does not keep up."""
    limit = upstream.timeouts.response_header
    timer = asyncio.get_running_loop().call_later(limit, relay.time_out) if limit else None
    try:
        while relay.ending is None:
            if not relay.paused:
                await relay.progress.change()
            if relay.paused and relay.ending is None:
                await request.writer.drain()
                relay.resume()
    except ConnectionError:
        relay.leave()
    finally:
        if timer is not None:
            timer.cancel()


async def _ask_why(relay: Relay, exchange: Exchange) -> None:
    """Let whoever knows the upstream say why it broke off, before the client is told."""
    if exchange.why_cut is not None:
        why, code = await exchange.why_cut()
        relay.detail, exchange.cut_code = why or relay.detail, code or exchange.cut_code


def _conclude(request: web.BaseRequest, relay: Relay, outgoing: Outgoing, exchange: Exchange) -> web.StreamResponse:
    head = relay.head
    if relay.ending is _COMPLETE and outgoing.early is None and head is not None:
        exchange.outcome = _OK
        return RelayedResponse(head.status, closes=relay.closes)
    exchange.detail = relay.detail
    message = f"model {outgoing.model!r}: {relay.detail}"
    if relay.ending is Ending.TIMED_OUT:
        raise RequestError(Reason.UPSTREAM_TIMEOUT, message)
    if head is None or relay.ending is _NO_ANSWER:
        raise RequestError(Reason.UPSTREAM_FAILED, message)
    if outgoing.early is not None:
        return _conclude_early(relay, outgoing.early, exchange, message)
    if relay.ending is _CUT_SHORT:
        exchange.outcome = Outcome.UPSTREAM_DIED
        event = last_event(request.path, message, code=exchange.cut_code)
        end_cut_short(request, head, event, relay.missing_of_chunk)
    else:
        exchange.outcome = Outcome.CLIENT_GONE
    return RelayedResponse(head.status, closes=True)


def _conclude_early(relay: Relay, early: EarlyStream, exchange: Exchange, message: str) -> web.StreamResponse:
    """End a stream whose head was ours."""
    closes = early.closes
    if relay.ending is _COMPLETE:
        exchange.outcome = Outcome.OK if early.is_passing else Outcome.UPSTREAM_FAILED
        early.finish()
    elif relay.ending is _CUT_SHORT:
        exchange.outcome = Outcome.UPSTREAM_DIED
        early.cut(message, exchange.cut_code)
        closes = True
    else:
        exchange.outcome = Outcome.CLIENT_GONE
        closes = True
    return RelayedResponse(200, closes=closes)
