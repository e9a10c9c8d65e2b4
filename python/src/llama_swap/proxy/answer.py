"""The head of an upstream's answer, and how its body is delimited (RFC 9112 §6.3)."""

import re
from collections.abc import Callable, Sequence
from enum import Enum, auto
from time import time

import httptools

from llama_swap.proxy.headers import http_date, response_headers, serialize

MAX_HEAD_BYTES = 64 * 1024
_NO_CONTENT = 204
_NOT_MODIFIED = 304
_SWITCHING = 101
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
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


class AnswerHead:
    """One parsed head, and where its body is chunked the parser that reads that.

    Attributes:
        headers: as received.
        fields: the same by lower-case name, the values of a repeated one joined (RFC 9110 §5.3).
        keep_alive: whether the connection may serve another request, once a body that can be delimited is over.
        parser: of a chunked body, None for any other. It is made anew for each answer: httptools carries a trailer over
            into the head of the next one.
        complete: the message has ended (chunked bodies only).
        on_body: gets each piece of a chunked body without framing.
        left: bytes of a body with a length that are still to come.
        last_read: the last bytes of a chunked body as they came from the wire.
    """

    __slots__ = (
        "_has_begun",
        "complete",
        "fields",
        "framing",
        "headers",
        "keep_alive",
        "last_read",
        "left",
        "on_body",
        "parser",
        "reason",
        "status",
    )

    def __init__(self, head: bytes, method: str, on_body: Callable[[bytes], object]) -> None:
        """Parse ``head``, which ends with its empty line.

        Raises:
            BadAnswerError: it is malformed or ambiguous.
        """
        line = _STATUS_LINE.match(head)
        headers: list[tuple[bytes, bytes]] = _FIELD.findall(head)
        if line is None or head.count(b"\n") != len(headers) + 2:
            raise BadAnswerError("the answer's head is malformed")
        minor, status, reason = line.groups()
        fields = {name.lower(): value for name, value in headers}
        if len(fields) != len(headers):
            fields = _joined(headers)
        modern: bool = minor == b"1"
        self.headers, self.fields = headers, fields
        self.status = int(status)
        self.reason: bytes = reason or b""
        self.left = 0
        self.framing = self._framing(method, modern=modern)
        self.keep_alive = self._is_kept(modern=modern) if b"connection" in fields else modern
        self.parser: httptools.HttpResponseParser = None  # type: ignore[assignment] # read of a chunked body only
        if self.framing is Framing.CHUNKED:
            self._read_chunks(head, on_body)

    def _framing(self, method: str, *, modern: bool) -> Framing:
        fields, size = self.fields, 0
        coding, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
        if coding is not None:
            if length is not None or not modern or coding.strip().lower() != b"chunked":
                raise BadAnswerError("the answer's Transfer-Encoding is not plain `chunked`, or does not fit its head")
        elif length is not None:
            digits = _LENGTH.fullmatch(length)
            if digits is None:
                raise BadAnswerError("the answer's Content-Length is no number")
            size = int(digits[1])
        if method == "HEAD" or self.status < 200 or self.status in {_NO_CONTENT, _NOT_MODIFIED}:  # noqa: PLR2004  (1xx)
            return Framing.NONE
        if coding is not None:
            return Framing.CHUNKED
        if length is None:
            return Framing.UNTIL_CLOSE
        self.left = size
        return Framing.LENGTH if size else Framing.NONE

    def _is_kept(self, *, modern: bool) -> bool:
        """RFC 9112 §9.3."""
        wish = self.fields[b"connection"].lower()
        return b"close" not in wish and (modern or b"keep-alive" in wish)

    def _read_chunks(self, head: bytes, on_body: Callable[[bytes], object]) -> None:
        """Let llhttp read the body, after a head of which it must have the same opinion."""
        self.complete = False
        self.last_read = b""
        self.on_body = on_body
        self._has_begun = False
        self.parser = httptools.HttpResponseParser(self)
        try:
            self.parser.feed_data(head)
        except httptools.HttpParserError as error:
            self.dispose()
            raise BadAnswerError(f"the answer's head is malformed: {error}") from error

    def dispose(self) -> None:
        """Give up the parser: it and the head refer to each other, which would leave all they hold to the collector."""
        if self.parser is not None:
            self.parser = None  # type: ignore[assignment] # nothing reads it after the end
            self.on_body = _ignore

    # What the parser of a chunked body calls.

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._has_begun = True

    def on_message_begin(self) -> None:
        """A message begins; a second one was sent unasked, and the parser must stop at its first byte.

        Raises:
            BadAnswerError: seen by the caller of the parser as an ``HttpParserError``.
        """
        if self.complete:
            raise BadAnswerError("bytes follow the end of the message")

    def on_header(self, name: bytes, _value: bytes) -> None:
        """One header, or one trailer, which only passes in the raw bytes.

        Raises:
            BadAnswerError: a trailer that speaks of framing (RFC 9110 §6.5.1); the parser's caller sees an
                ``HttpParserError``.
        """
        if self._has_begun and name.lower() in _FRAMING:
            raise BadAnswerError("a trailer may not delimit a message")

    def on_message_complete(self) -> None:
        """The message has ended."""
        self.complete = True

    @property
    def is_interim(self) -> bool:
        """Whether the real answer follows (1xx but 101)."""
        return self.status < 200 and self.status != _SWITCHING  # noqa: PLR2004 - RFC 9110's classes


def _joined(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value)
    return {name: b", ".join(each) for name, each in values.items()}


def _ignore(_piece: bytes) -> None:
    """Takes pieces of a body that nobody wants any more."""


def blank_surplus(last_read: bytes, data: bytes) -> int | None:
    """How many bytes of blank lines follow a chunked message that ended within ``data``.

    llhttp skips blank lines between messages, so it does not report them; but a chunked message ends with exactly two
    CRLFs, the first of which follows something else.

    Args:
        last_read: the read before it.
        data: the read that completed the message, without a second one in it.

    Returns:
        None where it cannot be told (the end came in tiny pieces).
    """
    if data in {b"\n", b"\r\n"}:
        return 0
    content = data.rstrip(b"\r\n")
    run = len(data) - len(content)
    if not content:
        content = last_read.rstrip(b"\r\n")
        run += len(last_read) - len(content)
    return max(0, run - 4) if content else None


def client_head(head: AnswerHead, added: Sequence[tuple[str, str]], *, modern: bool, closes: bool) -> bytes:
    """The head that the client gets for an answer.

    Args:
        head: the upstream's.
        added: headers of ours.
        modern: the client speaks HTTP/1.1.
        closes: its connection ends with this answer.
    """
    fields = head.fields
    # RFC 9112 §6.3: a 204 has no length either.
    dropped = _LENGTH_ONLY if head.status == _NO_CONTENT else _NOTHING
    sent = response_headers(head.headers, fields, added=added, dropped=dropped)
    if modern and head.framing in _CHUNKED_FOR_CLIENT:
        sent.append((b"Transfer-Encoding", b"chunked"))
    if closes:
        sent.append((b"Connection", b"close"))
    elif not modern:
        sent.append((b"Connection", b"keep-alive"))
    if b"date" not in fields:
        sent.append((b"Date", http_date(int(time()))))
    return serialize(b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason), sent)
