"""The head of an upstream's answer, and how its body is delimited (RFC 9112 §6.3)."""

import re
from collections.abc import Mapping, Sequence
from enum import Enum, auto

import msgspec

from llama_swap.proxy.headers import http_date, response_headers, serialize

MAX_HEAD_BYTES = 64 * 1024
_NO_CONTENT = 204
_NOT_MODIFIED = 304
_SWITCHING = 101
_LENGTH_ONLY = frozenset({b"content-length"})
_NOTHING = frozenset[bytes]()

# Together they match each byte of a head, or it is none: a field takes exactly one line, and all lines are counted.
# A reason phrase with control characters is left out; nobody needs it (RFC 9112 §4).
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (?:([\t -~\x80-\xff]*+)|[^\r\n]*+))?\r\n")
_FIELD = re.compile(rb"\n([!#$%&'*+.^_`|~0-9A-Za-z-]++):[ \t]*+([\t -~\x80-\xff]*+)\r(?=\n)")
_LENGTH = re.compile(rb"([0-9]{1,18})[ \t]*+")


class BadAnswerError(Exception):
    """The upstream's bytes are no answer, or one that two readers could understand differently."""


class Framing(Enum):
    """What ends the body of an answer; one whose length is 0 is none."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


_CHUNKED_FOR_CLIENT = (Framing.CHUNKED, Framing.UNTIL_CLOSE)


class AnswerHead(msgspec.Struct, frozen=True, eq=False):
    """What one head says.

    Attributes:
        headers: as received.
        fields: the same by lower-case name, the values of a repeated one joined (RFC 9110 §5.3).
        keep_alive: whether the connection may serve another request, once a body that can be delimited is over.
        length: of a body that is delimited by it, in bytes; else 0.
    """

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    fields: dict[bytes, bytes]
    framing: Framing
    keep_alive: bool
    length: int

    @property
    def is_interim(self) -> bool:
        """Whether the real answer follows (1xx but 101)."""
        return self.status < 200 and self.status != _SWITCHING  # noqa: PLR2004 - RFC 9110's classes


def read_head(head: bytes, method: str) -> AnswerHead:
    """Parse a head, which ends with its empty line; nothing but these bytes and the request's method decides.

    Raises:
        BadAnswerError: it is malformed or ambiguous.
    """
    line = _STATUS_LINE.match(head)
    headers: list[tuple[bytes, bytes]] = _FIELD.findall(head)
    if line is None or head.count(b"\n") != len(headers) + 2:
        raise BadAnswerError("the answer's head is malformed")
    minor, digits, reason = line.groups()
    fields = {name.lower(): value for name, value in headers}
    if len(fields) != len(headers):
        fields = _joined(headers)
    modern, status = minor == b"1", int(digits)
    framing, length = _framing(fields, status, method, modern=modern)
    keep_alive = _is_kept(fields, modern=modern) if b"connection" in fields else modern
    return AnswerHead(status, reason or b"", headers, fields, framing, keep_alive, length)


def _joined(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value)
    return {name: b", ".join(each) for name, each in values.items()}


def _framing(fields: Mapping[bytes, bytes], status: int, method: str, *, modern: bool) -> tuple[Framing, int]:
    """What ends the body, and its length where that is what does."""
    size = 0
    coding, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if coding is not None:
        # No tab: behind `chunked` llhttp takes one for a part of its name, and would read another body than the client.
        if length is not None or not modern or coding.strip(b" ").lower() != b"chunked":
            raise BadAnswerError("the answer's Transfer-Encoding is not plain `chunked`, or does not fit its head")
    elif length is not None:
        digits = _LENGTH.fullmatch(length)
        if digits is None:
            raise BadAnswerError("the answer's Content-Length is no number")
        size = int(digits[1])
    if method == "HEAD" or status < 200 or status in {_NO_CONTENT, _NOT_MODIFIED}:  # noqa: PLR2004  (1xx)
        return Framing.NONE, 0
    if coding is not None:
        return Framing.CHUNKED, 0
    if length is None:
        return Framing.UNTIL_CLOSE, 0
    return (Framing.LENGTH, size) if size else (Framing.NONE, 0)


def _is_kept(fields: Mapping[bytes, bytes], *, modern: bool) -> bool:
    """RFC 9112 §9.3."""
    wish = fields[b"connection"].lower()
    return b"close" not in wish and (modern or b"keep-alive" in wish)


def client_head(
    head: AnswerHead, added: Sequence[tuple[str, str]], *, modern: bool, closes: bool, second: int
) -> bytes:
    """The head that the client gets for an answer; nothing but the parameters decides.

    Args:
        head: the upstream's.
        added: headers of ours.
        modern: the client speaks HTTP/1.1.
        closes: its connection ends with this answer.
        second: the time, in whole seconds since 1970.
    """
    # RFC 9112 §6.3: a 204 has no length either.
    dropped = _LENGTH_ONLY if head.status == _NO_CONTENT else _NOTHING
    sent = response_headers(head.headers, head.fields, added=added, dropped=dropped)
    if modern and head.framing in _CHUNKED_FOR_CLIENT:
        sent.append((b"Transfer-Encoding", b"chunked"))
    if closes:
        sent.append((b"Connection", b"close"))
    elif not modern:
        sent.append((b"Connection", b"keep-alive"))
    if b"date" not in head.fields:
        sent.append((b"Date", http_date(second)))
    return serialize(b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason), sent)
