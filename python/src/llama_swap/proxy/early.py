"""An event stream that begins before its upstream can answer: the client hears from us while its model loads.

We have sent the head, so the framing towards the client is ours: every write becomes a chunk. What the upstream answers
is passed into it if it is an event stream; anything else becomes an error event, for its status can no longer be sent.
"""

from time import time
from typing import TYPE_CHECKING

import msgspec
from aiohttp import HttpVersion11, web

from llama_swap.proxy.boundary import is_last
from llama_swap.proxy.error_events import error_event
from llama_swap.proxy.exchange import Exchange
from llama_swap.proxy.headers import http_date, is_event_stream, serialize

if TYPE_CHECKING:
    import asyncio

_LAST_CHUNK = b"0\r\n\r\n"
_ERROR_BODY_BYTES = 64 * 1024
_OK = 200


def can_begin_early(request: web.BaseRequest) -> bool:
    """Whether an answer of unknown length can be delimited for this client."""
    return request.version >= HttpVersion11


class EarlyStream:
    """The client's side of a stream that has begun; stands in for the client's transport while relaying.

    Sends the head when it is made.

    Args:
        request: of a client that passed :func:`can_begin_early`.
        exchange: whose ``status`` and ``headers`` tell what the upstream answered.
    """

    __slots__ = ("_client", "_exchange", "_path", "_rejected", "closes")

    def __init__(self, request: web.BaseRequest, exchange: Exchange) -> None:
        if request.transport is None:
            raise ConnectionResetError("the client has left")
        self._client: asyncio.WriteTransport = request.transport
        self._exchange = exchange
        self._path = request.path
        self._rejected = b""
        self.closes = is_last(request)
        headers = [
            (b"Content-Type", b"text/event-stream"),
            (b"Cache-Control", b"no-cache"),
            (b"X-Accel-Buffering", b"no"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Date", http_date(int(time()))),
        ]
        if self.closes:
            headers.append((b"Connection", b"close"))
        exchange.began_early = True
        self._client.write(serialize(b"HTTP/1.1 200 OK\r\n", headers))

    def is_closing(self) -> bool:
        """Whether the client has left."""
        return self._client.is_closing()

    def send(self, text: bytes) -> None:
        """Send whole events or comments of our own."""
        if text and not self._client.is_closing():
            self._client.write(b"%x\r\n%b\r\n" % (len(text), text))

    def write(self, data: bytes) -> None:
        """Pass a piece of the upstream's body; of one that is no event stream only the beginning is kept."""
        if self.is_passing:
            self.send(data)
        else:
            self._rejected = (self._rejected + data)[:_ERROR_BODY_BYTES]

    @property
    def is_passing(self) -> bool:
        """Whether the upstream answers with an event stream that may follow ours."""
        exchange = self._exchange
        coding = exchange.header(b"content-encoding").lower()
        return exchange.status == _OK and is_event_stream(exchange.headers) and coding in {b"", b"identity"}

    def finish(self) -> None:
        """The upstream's answer is complete: end the stream, with an error event if it was no event stream."""
        if not self.is_passing:
            self.send(self._rejection())
        self._end()

    def fail(self, message: str, *, error_type: str, code: str) -> None:
        """End the stream with an error before any answer of an upstream."""
        self.send(error_event(self._path, message=message, error_type=error_type, code=code))
        self._end()

    def cut(self, message: str, code: str) -> None:
        """The upstream died in the middle: the error, then no clean end."""
        self.send(b"\n\n" + error_event(self._path, message=message, code=code))
        self._client.close()

    def _end(self) -> None:
        if not self._client.is_closing():
            self._client.write(_LAST_CHUNK)

    def _rejection(self) -> bytes:
        """The upstream's own error where it sent one, else its status and what it said."""
        status = self._exchange.status
        try:
            error = msgspec.json.decode(self._rejected)["error"]
            message, kind, code = error["message"], error.get("type", "server_error"), error.get("code", status)
        except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
            text = self._rejected.decode("utf-8", "replace")[:500]
            message, kind, code = f"the upstream answered {status}: {text}", "server_error", status
        return error_event(self._path, message=str(message), error_type=str(kind), code=code)
