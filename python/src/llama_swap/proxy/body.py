"""The JSON body of a request: read it, find its model, apply a model's rules to it.

Untouched values keep their exact bytes: msgspec hands them out raw and they are put back as they were.
"""

import asyncio
import io
import re
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import HttpVersion11, StreamReader, web

from llama_swap.errors import Reason, RequestError
from llama_swap.proxy import jsonpath
from llama_swap.proxy.refusal import envelope

COMPRESSED_LIMIT_BYTES = 64 * 1024 * 1024
"""What a compressed body may unpack to where no limit is configured; plain bodies are bounded by what was sent."""

BODY_SECONDS = 60.0
"""How long a client may keep us waiting for the next piece of its body: it may hold a lease meanwhile."""

# What is taken from its reader in one go where all of it is there. A longer one may be there in pieces, and joining
# them would hold it twice.
_SMALL_BYTES = 1024 * 1024

# zlib's name for each coding; both kinds of `deflate` occur in the wild, `wbits` 15 + 32 tells zlib from gzip.
_CODINGS = {"gzip": 15 + 32, "x-gzip": 15 + 32, "deflate": 15 + 32}
_POSITION = re.compile(r"\(byte (\d+)\)")
_NUMBER = re.compile(rb"-?\d+")


class ModelField(msgspec.Struct, frozen=True):
    """What a body says about where it wants to go; one for each request, so its type is the one that is made fastest.

    Attributes:
        name: the model asked for; None where the body names none.
        stream: the client asked for a stream.
        keep_alive: how long the model shall stay (Ollama), as JSON; b"" where the body does not say.
        ttl: the same, as LM Studio calls it.
    """

    name: str | None
    stream: bool
    keep_alive: bytes = b""
    ttl: bytes = b""


@dataclass(frozen=True, slots=True)
class BodyRules:
    r"""What a model's configuration changes in a request's body; applied in this order (llama-swap ``filters``).

    Keys are paths as in gjson and sjson: ``a.b`` is nested, ``a\.b`` is a key with a dot, ``a.0`` an array's element.

    Attributes:
        use_model_name: the upstream's name of the model.
        strip_params: paths to remove; ``model`` never is.
        set_params: values that override the client's.
        requested_params: the same, of the name that the client asked for (``setParamsByID``).
    """

    use_model_name: str | None = None
    strip_params: tuple[str, ...] = ()
    set_params: Mapping[str, Any] = field(default_factory=dict)
    requested_params: Mapping[str, Any] = field(default_factory=dict)


class _Routing(msgspec.Struct):
    model: msgspec.Raw = msgspec.Raw(b"null")
    stream: msgspec.Raw = msgspec.Raw(b"null")
    keep_alive: msgspec.Raw = msgspec.Raw(b"")
    ttl: msgspec.Raw = msgspec.Raw(b"")


_decode_routing = msgspec.json.Decoder(_Routing).decode
_decode_string = msgspec.json.Decoder(str).decode


async def read_body(request: web.BaseRequest, *, limit_bytes: int) -> bytes:
    """Read a request's whole body, unpacked if it is gzip or deflate; it is held once.

    Args:
        request: its server must not unpack bodies itself (:func:`llama_swap.proxy.front.server_options`).
        limit_bytes: the largest body; 0 is no limit, except for compressed bodies.

    Raises:
        RequestError: BODY_TOO_LARGE, or INVALID_REQUEST for a body that is broken or in an unknown coding.
    """
    content = request.content
    if content.is_eof() and 0 < content.total_bytes <= _SMALL_BYTES and "Content-Encoding" not in request.headers:
        if content.total_bytes > limit_bytes > 0:
            raise _too_large(limit_bytes)
        if content.exception() is None:
            return _take(content)
    check_length(request, limit_bytes)
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    pieces = read_pieces(request)
    if coding != "identity":
        limit_bytes = limit_bytes or COMPRESSED_LIMIT_BYTES
        pieces = _unpack(pieces, coding)
    first = b""
    # BytesIO grows in place and gives its buffer away: joining a list of pieces would hold the body twice.
    whole = io.BytesIO()
    size = 0
    async for piece in pieces:
        size += len(piece)
        if limit_bytes and size > limit_bytes:
            raise _too_large(limit_bytes)
        if size == len(piece):
            first = piece
            continue
        if first:
            whole.write(first)
            first = b""
        whole.write(piece)
    return first or whole.getvalue()


def _take(content: StreamReader) -> bytes:
    """A body that is there as a whole: as it is, if it came in one read with its head, as most do."""
    buffer = content._buffer  # noqa: SLF001 - aiohttp would see to the flow as well, which has ended; pinned by a test
    return buffer.popleft() if len(buffer) == 1 else content.read_nowait()


class StreamedBody:
    """A request's body that passes as it comes (a :class:`~llama_swap.proxy.exchange.BodySource`).

    Args:
        request: whose body it is.
        limit_bytes: the largest body; 0 is no limit.

    Raises:
        RequestError: BODY_TOO_LARGE, at once where its length is announced.
    """

    __slots__ = ("_limit_bytes", "_request")

    replayable = False

    def __init__(self, request: web.BaseRequest, *, limit_bytes: int) -> None:
        check_length(request, limit_bytes)
        self._request = request
        self._limit_bytes = limit_bytes

    @property
    def length_bytes(self) -> int | None:
        """What the client announced; None where it sends chunks."""
        return self._request.content_length

    def chunks(self) -> AsyncIterator[bytes]:
        """The body, piece by piece."""
        return read_pieces(self._request, limit_bytes=self._limit_bytes)


def check_length(request: web.BaseRequest, limit_bytes: int) -> None:
    """Refuse a body whose announced length is over the limit before any of it is read.

    Raises:
        RequestError: BODY_TOO_LARGE.
    """
    if limit_bytes and (request.content_length or 0) > limit_bytes:
        raise _too_large(limit_bytes)


async def expect_later(request: web.Request) -> None:
    """An ``expect_handler`` for aiohttp's routes: the 100 is sent by whoever reads the body.

    Raises:
        web.HTTPExpectationFailed: the client expects something else.
    """
    if request.headers.get("Expect", "").lower() != "100-continue":
        text = envelope(417, "Expect may only be `100-continue`").decode()
        raise web.HTTPExpectationFailed(text=text, content_type="application/json")


def is_continue_owed(request: web.BaseRequest) -> bool:
    """Whether the client waits for leave to send its body: it asked, and has sent none of it."""
    return "Expect" in request.headers and not request.content.is_eof() and not request.content.total_bytes


def grant_continue(request: web.BaseRequest) -> None:
    """Let a client send its body that waits for our leave (RFC 9110 §10.1.1)."""
    if is_continue_owed(request) and request.transport is not None and request.version >= HttpVersion11:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def read_pieces(request: web.BaseRequest, *, limit_bytes: int = 0) -> AsyncIterator[bytes]:
    """The body as the client sends it, up to ``limit_bytes`` (0 is no limit).

    Raises:
        RequestError: INVALID_REQUEST where its framing is broken or it stops coming, BODY_TOO_LARGE.
    """
    grant_continue(request)
    content = request.content
    size = 0
    try:
        while not content.at_eof():
            piece = content.read_nowait() or await _wait_piece(content)
            size += len(piece)
            if limit_bytes and size > limit_bytes:
                raise _too_large(limit_bytes)
            if piece:
                yield piece
    except web.RequestPayloadError as error:
        raise RequestError(Reason.INVALID_REQUEST, f"the request's body is broken: {error}") from error


async def _wait_piece(content: StreamReader) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await content.readany()
    except TimeoutError as error:
        message = f"the request's body did not go on for {BODY_SECONDS:g} s"
        raise RequestError(Reason.INVALID_REQUEST, message) from error


async def _unpack(pieces: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    """Unpack in bounded steps, so that the reader's limit acts before the memory is taken."""
    if coding not in _CODINGS:
        raise RequestError(Reason.INVALID_REQUEST, f"Content-Encoding {coding!r} is not supported; send gzip or none")
    unpacker = zlib.decompressobj(_CODINGS[coding])
    started = False
    try:
        async for packed in pieces:
            if not started and coding == "deflate" and packed[0] & 0x0F != 8:  # noqa: PLR2004 - RFC 1950: no zlib header
                unpacker = zlib.decompressobj(-15)
            started = True
            rest = packed
            while rest and not unpacker.eof:
                yield unpacker.decompress(rest, 1024 * 1024)
                rest = unpacker.unconsumed_tail
                await asyncio.sleep(0)  # a few kilobytes may be megabytes: others must have their turn
        while tail := unpacker.decompress(unpacker.unconsumed_tail, 1024 * 1024):
            yield tail
            await asyncio.sleep(0)
    except zlib.error as error:
        raise RequestError(Reason.INVALID_REQUEST, f"the request's body is not valid {coding}: {error}") from error
    if started and not unpacker.eof:
        raise RequestError(Reason.INVALID_REQUEST, f"the request's {coding} body ends too early")


def _too_large(limit_bytes: int) -> RequestError:
    return RequestError(Reason.BODY_TOO_LARGE, f"the request's body is larger than {limit_bytes} bytes")


def read_model(body: bytes) -> ModelField:
    """Find what concerns us at the top of a JSON body; a repeated key counts with its last value.

    A model that is no string is spelled out as llama-swap does: ``123`` is ``"123"``; null and ``""`` are none.

    Raises:
        RequestError: INVALID_JSON with the position.
    """
    if not body or body.isspace():
        return ModelField(None, stream=False)
    try:
        routing = _decode_routing(body)
        name = _spell(bytes(routing.model))
    except msgspec.ValidationError:
        return ModelField(None, stream=False)  # valid JSON, but no object
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RequestError(Reason.INVALID_JSON, _describe(error, body)) from error
    stream = bytes(routing.stream) == b"true"
    return ModelField(name or None, stream, bytes(routing.keep_alive), bytes(routing.ttl))


def _spell(raw: bytes) -> str:
    if raw[:1] == b'"':
        return _decode_string(raw)
    if raw == b"null":
        return ""
    if raw[:1] in b"-0123456789" and not _NUMBER.fullmatch(raw):
        number = float(raw)
        return str(int(number)) if number.is_integer() else repr(number)
    return raw.decode()


def _describe(error: Exception, body: bytes) -> str:
    if isinstance(error, RecursionError):
        return "the request's JSON is nested too deeply"
    found = _POSITION.search(str(error))
    if found is None:
        return f"the request's body is not valid JSON: {error}"
    position = int(found[1])
    line = body.count(b"\n", 0, position) + 1
    column = position - body.rfind(b"\n", 0, position)
    return f"the request's body is not valid JSON: {error}, line {line}, column {column}"


def apply_rules(body: bytes, rules: BodyRules) -> bytes:
    """Apply a model's rules to a JSON body.

    Returns:
        The new body: keys keep their order, untouched values their bytes. ``body`` itself where nothing changes or
        where it is no JSON object.

    Raises:
        RequestError: INVALID_JSON.
    """
    if not (rules.use_model_name or rules.strip_params or rules.set_params or rules.requested_params):
        return body
    try:
        return _apply(body, rules)
    except msgspec.ValidationError:
        return body
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RequestError(Reason.INVALID_JSON, _describe(error, body)) from error


def _apply(body: bytes, rules: BodyRules) -> bytes:
    document = jsonpath.read_object(body)
    changed = False
    if rules.use_model_name:
        document["model"] = msgspec.Raw(msgspec.json.encode(rules.use_model_name))
        changed = True
    for path in rules.strip_params:
        parts = jsonpath.split(path)
        if parts[0] != "model":
            changed = jsonpath.remove(document, parts) or changed
    for params in (rules.set_params, rules.requested_params):
        for path, value in params.items():
            parts = jsonpath.split(path)
            if parts[0] != "model":
                jsonpath.assign(document, parts, msgspec.Raw(msgspec.json.encode(value)))
                changed = True
    return jsonpath.write(document) if changed else body
