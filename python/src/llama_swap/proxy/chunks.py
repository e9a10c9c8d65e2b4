"""A chunked body of an answer, read by llhttp while it passes raw (RFC 9112 §7.1)."""

from collections.abc import Callable

import httptools

from llama_swap.proxy.answer import BadAnswerError

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class ChunkedBody:
    """The parser of one body, and what it is asked for; it is made anew for each answer.

    (httptools carries a trailer over into the head of the next one.)

    Args:
        head: of the answer; llhttp must have the same opinion of it.
        on_body: gets each piece without framing.

    Attributes:
        complete: the message has ended.
        feed: takes the next read; an ``HttpParserError`` says that it cannot be a part of this message.
        last_read: the last bytes as they came from the wire.

    Raises:
        BadAnswerError: llhttp refuses the head.
    """

    __slots__ = ("_has_begun", "complete", "feed", "last_read", "on_body")

    def __init__(self, head: bytes, on_body: Callable[[bytes], object]) -> None:
        self.complete = False
        self.last_read = b""
        self.on_body = on_body
        self._has_begun = False
        self.feed: Callable[[bytes], object] = httptools.HttpResponseParser(self).feed_data
        try:
            self.feed(head)
        except httptools.HttpParserError as error:
            self.dispose()
            raise BadAnswerError(f"the answer's head is malformed: {error}") from error

    def dispose(self) -> None:
        """Give up the parser: it and this refer to each other, which would leave all they hold to the collector."""
        self.feed = self.on_body = _ignore

    # What the parser calls.

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
