"""How an answer is ended whose upstream died in the middle, so that no client takes it for a whole one.

The rule: never a clean end.

- ``text/event-stream`` without Content-Encoding: what is missing of a torn chunk is filled with newlines (blank lines
  mean nothing in an event stream), then one ``data: {"error": {...}}`` event follows in a chunk of its own, then the
  connection is closed *without* the last chunk. openai-python raises the event as an APIError; a client that knows
  nothing of error events sees an incomplete chunked body. Only where the end of the connection is the end of the body
  (HTTP/1.0) does the framing demand that what follows the event looks clean.
- Anything else, and event streams whose framing cannot be resumed: closed short of its length or last chunk; where
  nothing but the end of the connection delimits the body, by a reset.
"""

import asyncio
import socket
import struct
from collections.abc import Callable

import httptools
from aiohttp import HttpVersion11, web

from llama_swap.proxy.answer import AnswerHead, Framing
from llama_swap.proxy.chunks import ChunkedBody
from llama_swap.proxy.error_events import error_event
from llama_swap.proxy.exchange import Listener
from llama_swap.proxy.headers import is_event_stream

_Missing = Callable[[], int | None]

_FLUSH_SECONDS = 30.0
_FILL_LIMIT_BYTES = 64 * 1024
_LAST_CHUNK = b"0\r\n\r\n"
_NO_LINGER = struct.pack("ii", 1, 0)


def last_event(path: str, message: str, *, code: str) -> bytes:
    """The event that says why a stream ends; the blank line before it ends whatever line was torn."""
    return b"\n\n" + error_event(path, message=message, code=code)


def missing_of_chunk(body: ChunkedBody, listener: Listener) -> int | None:
    """How many content bytes the last, torn chunk lacks; 0 between two chunks, None where that cannot be told.

    The parser knows but does not say, so it is asked by feeding it: at a chunk boundary, and only there, the last
    chunk completes the message; inside a chunk bytes are swallowed until the CRLF after it is due. Its state is spent
    afterwards.

    Args:
        body: of the answer that was cut.
        listener: who gets the content from the parser, and is made to forget what it was fed.
    """
    if body.complete:
        return None
    forget = listener.mark()
    try:
        return _asked(body, listener)
    finally:
        forget()


def _asked(body: ChunkedBody, listener: Listener) -> int | None:
    heard_bytes = listener.total_bytes
    try:
        body.feed(_LAST_CHUNK)
    except httptools.HttpParserError:
        return None
    if body.complete:
        # Without a CRLF before it, `0` may have ended a torn size or a torn trailer.
        return 0 if body.last_read.endswith(b"\r\n") or not body.last_read else None
    if listener.total_bytes - heard_bytes != len(_LAST_CHUNK):
        return None  # only content swallows it whole
    for missing in range(len(_LAST_CHUNK), _FILL_LIMIT_BYTES):
        try:
            body.feed(b"\n")
        except httptools.HttpParserError:
            return missing
    return None


def _event_bytes(head: AnswerHead, event: bytes, missing: _Missing, *, modern: bool) -> bytes:
    """The event as it can follow what the client has, or ``b""`` where it cannot."""
    chunk = b"%x\r\n%b\r\n" % (len(event), event)
    if head.framing is Framing.UNTIL_CLOSE:
        return chunk if modern else event
    if head.framing is not Framing.CHUNKED:
        return b""
    if not modern:
        return event
    lacking = missing()
    if lacking is None:
        return b""
    return (b"\n" * lacking + b"\r\n" if lacking else b"") + chunk


def _takes_events(head: AnswerHead) -> bool:
    return is_event_stream(head.headers) and not any(
        name.lower() == b"content-encoding" and value.lower() != b"identity" for name, value in head.headers
    )


def send_last_event(request: web.BaseRequest, head: AnswerHead, event: bytes, missing: _Missing) -> bool:
    """Send an event after which nothing follows, where the answer can take it.

    Args:
        request: of the client.
        head: of the answer.
        event: whole.
        missing: asked what a torn chunk lacks (:func:`missing_of_chunk`).

    Returns:
        Whether the client will see that the answer lacks its end when its connection is now closed in the normal way.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        return True
    modern = request.version >= HttpVersion11
    sent = _event_bytes(head, event, missing, modern=modern) if _takes_events(head) else b""
    if sent:
        transport.write(sent)
    return bool(sent) or modern or head.framing is Framing.LENGTH


def end_cut_short(request: web.BaseRequest, head: AnswerHead, event: bytes, missing: _Missing) -> None:
    """End an answer that lacks its end with an event, and the client's connection with it; ``missing`` as above."""
    visible = send_last_event(request, head, event, missing)
    transport = request.transport
    if transport is None or transport.is_closing():
        return
    if not visible:
        reset(transport)
        return
    transport.close()
    # A client that has stopped reading must not keep the rest in memory for ever.
    asyncio.get_running_loop().call_later(_FLUSH_SECONDS, transport.abort)


def reset(transport: asyncio.Transport) -> None:
    """Close a connection so that the other side sees an error instead of an end of file."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
