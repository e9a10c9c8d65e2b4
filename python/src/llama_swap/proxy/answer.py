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
_DATE_BYTES = len(b"date")
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_REASON = re.compile(rb"[\t -~\x80-\xff]*")


class BadAnswerError(Exception):
    """The upstream's bytes are no answer, or one that two readers could understand differently."""


class Framing(Enum):
    """What ends the body of an answer."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


class AnswerHead:
    """One parsed head, with the parser that goes on to read a chunked body.

    It is made anew for each answer: httptools carries a trailer over into the head of the next one.

    Attributes:
        keep_alive: whether the connection may serve another request. It is read while the head completes, for llhttp
            clears its flags with the message and then always says "close".
        complete: the message has ended (chunked bodies only).
        on_body: gets each piece of a chunked body without framing.
        left: bytes of a body with a length that are still to come.
        last_read: the last bytes of a chunked body as they came from the wire.
    """

    __slots__ = (
        "complete",
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
        self.status = 0
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.keep_alive = False
        self.complete = False
        self.on_body = on_body
        self.left = 0
        self.last_read = b""
        self.parser = httptools.HttpResponseParser(self)
        try:
            self._parse(head)
            self.framing = self._framing(method, head)
        except BadAnswerError:
            self.dispose()
            raise

    def dispose(self) -> None:
        """Give up the parser: it and the head refer to each other, which would leave all they hold to the collector."""
        self.parser = None  # type: ignore[assignment] # nothing reads it after the end
        self.on_body = _ignore

    def _parse(self, head: bytes) -> None:
        try:
            self.parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            pass  # a 101: the bytes that follow are not HTTP
        except httptools.HttpParserError as error:
            raise BadAnswerError(f"the answer's head is malformed: {error}") from error
        if not self.status:
            raise BadAnswerError("the answer's head does not end where it should")
        if self.status < 100:  # noqa: PLR2004 - RFC 9110 §15
            raise BadAnswerError(f"{self.status} is no status")
        if not _REASON.fullmatch(self.reason):
            self.reason = b""  # control characters, which llhttp lets pass; nobody needs the phrase (RFC 9112 §4)

    def on_message_begin(self) -> None:
        """A message begins; a second one was sent unasked, and the parser must stop at its first byte.

        Raises:
            BadAnswerError: seen by the caller of the parser as an ``HttpParserError``.
        """
        if self.complete:
            raise BadAnswerError("bytes follow the end of the message")

    def on_status(self, status: bytes) -> None:
        """A piece of the reason phrase."""
        if not self.status:
            self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer, which only passes in the raw bytes.

        Raises:
            BadAnswerError: a trailer that speaks of framing (RFC 9110 §6.5.1); the parser's caller sees an
                ``HttpParserError``.
        """
        if not self.status:
            self.headers.append((name, value))
        elif name.lower() in _FRAMING:
            raise BadAnswerError("a trailer may not delimit a message")

    def on_headers_complete(self) -> None:
        """The head has ended."""
        if not self.status:
            self.status = self.parser.get_status_code()
            self.keep_alive = self.parser.should_keep_alive()

    def on_message_complete(self) -> None:
        """The message has ended."""
        self.complete = True

    @property
    def is_interim(self) -> bool:
        """Whether the real answer follows (1xx but 101)."""
        return self.status < 200 and self.status != _SWITCHING  # noqa: PLR2004 - RFC 9110's classes

    def _framing(self, method: str, head: bytes) -> Framing:
        codings, lengths = [], []
        for name, value in self.headers:
            lower = name.lower()
            if lower == b"content-length":
                lengths.append(value)
            elif lower == b"transfer-encoding":
                codings.append(value)
        version = head[:9]
        if version not in {b"HTTP/1.1 ", b"HTTP/1.0 "} or (codings and version == b"HTTP/1.0 "):
            raise BadAnswerError("the answer's HTTP version does not fit its head")
        if len(codings) > 1 or (codings and codings[0].strip().lower() != b"chunked"):
            raise BadAnswerError("the answer's Transfer-Encoding is not plain `chunked`")
        if method == "HEAD" or self.status in {_NO_CONTENT, _NOT_MODIFIED} or self.status < 200:  # noqa: PLR2004
            return Framing.NONE
        if codings:
            return Framing.CHUNKED
        if lengths:
            # llhttp has refused a second one, signs, lists and anything but digits.
            self.left = int(lengths[0])
            return Framing.LENGTH
        return Framing.UNTIL_CLOSE


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


def client_head(head: AnswerHead, *, added: Sequence[tuple[str, str]], modern: bool, closes: bool) -> bytes:
    """The head that the client gets for an answer.

    Args:
        head: the upstream's.
        added: headers of ours.
        modern: the client speaks HTTP/1.1.
        closes: its connection ends with this answer.
    """
    ours = list(added)
    if modern and head.framing in {Framing.CHUNKED, Framing.UNTIL_CLOSE}:
        ours.append(("Transfer-Encoding", "chunked"))
    if closes:
        ours.append(("Connection", "close"))
    elif not modern:
        ours.append(("Connection", "keep-alive"))
    # RFC 9112 §6.3: a 204 has no length either.
    dropped = frozenset({b"content-length"} if head.status == _NO_CONTENT else ())
    sent = response_headers(head.headers, added=ours, dropped=dropped)
    for name, _ in sent:
        if len(name) == _DATE_BYTES and name.lower() == b"date":
            break
    else:
        sent.append((b"Date", http_date(int(time()))))
    return serialize(b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason), sent)
