"""The head of a client's request, kept while its connection repeats it: most clients send the same one every time."""

from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, web

from llama_swap.proxy.boundary import is_last

_VERSIONS = (HttpVersion10, HttpVersion11)
_TOO_LARGE = 431
_MOST_HEADERS = 128
_MOST_DIGITS = 20
_LENGTH = b"content-length"
_NO_FIELD = (b"", b"")
# A longer head is not kept for the next request: a connection may be idle for long, and there are many.
_KEPT_BYTES = 16 * 1024


class RequestHead:
    """A head that was admitted, and what follows from it alone.

    It is the same object for the next request of its connection if that differs in the value of its Content-Length at
    most, and if it is no longer than 16 KiB. So whatever is a function of the rest can be worked out once and kept in a
    slot for notes.

    Args:
        request: that it begins.

    Attributes:
        is_last: see :func:`.boundary.is_last`.
        expects: the client may wait for leave to send its body.
        notes: what :mod:`llama_swap.api` keeps; None at first.
        sent: what is kept of the head for the upstream; None at first.
    """

    __slots__ = ("_name", "_position", "_rest", "expects", "is_last", "notes", "sent")

    def __init__(self, request: web.BaseRequest) -> None:
        raw = request.raw_headers
        names = [name.lower() for name, _ in raw]
        self._position = position = names.index(_LENGTH) if _LENGTH in names else len(raw)
        self._name, _ = raw[position] if position < len(raw) else _NO_FIELD
        is_short = sum(len(name) + len(value) for name, value in raw) <= _KEPT_BYTES
        rest = request.method, request.raw_path, request.version, raw[:position], raw[position + 1 :]
        self._rest = rest if is_short else None
        self.is_last = is_last(request)
        self.expects = "Expect" in request.headers
        self.notes: Any = None
        self.sent: Any = None

    def is_repeated_by(self, request: web.BaseRequest) -> bool:
        """Whether a request has this head, but for the value of its Content-Length."""
        raw, position = request.raw_headers, self._position
        name, digits = raw[position] if len(raw) > position else _NO_FIELD
        return (
            name == self._name
            and len(digits) <= _MOST_DIGITS
            and (request.method, request.raw_path, request.version, raw[:position], raw[position + 1 :]) == self._rest
        )


def objection(request: web.BaseRequest) -> tuple[int, str] | None:
    """The status and the reason for a request that aiohttp takes and we do not; some it takes before 3.14 only."""
    headers, is_old = request.headers, request.version < HttpVersion11
    if request.version not in _VERSIONS:
        return 400, "this server speaks HTTP/1.0 and HTTP/1.1"
    if request.method == "CONNECT":
        return 400, "this server is no tunnel"
    if len(headers) > _MOST_HEADERS:
        return _TOO_LARGE, "the head of the request is too large"
    hosts = len(headers.getall("Host", ()))
    if hosts > 1 or not (hosts or is_old):
        return 400, "a request has one Host header (only HTTP/1.0 can do without)"
    codings = headers.getall("Transfer-Encoding", ())
    if codings and (is_old or len(codings) > 1 or codings[0].strip().lower() != "chunked"):
        return 400, "Transfer-Encoding may only be `chunked`, and only in HTTP/1.1"
    is_long = len(headers.get("Content-Length", "")) > _MOST_DIGITS
    return (400, "Content-Length has too many digits") if is_long else None
