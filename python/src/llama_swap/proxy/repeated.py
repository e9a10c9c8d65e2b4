"""The head that an upstream sends again and again, with nothing changed in it but the length of the body."""

import re
from collections.abc import Sequence
from time import time

import msgspec
from msgspec.structs import replace

from llama_swap.proxy.answer import AnswerHead, Framing, client_head, read_head

# Where a head that is sound has the length of its body; the line holds nothing else.
_LENGTH_LINE = re.compile(rb"(?i)\ncontent-length:[ \t]*+([0-9]{1,18})\r\n")
_MOST_DIGITS = 18


class _Known(msgspec.Struct, frozen=True, eq=False):
    """A head around the digits of its length, what it said, and the place and name of the length among its headers."""

    before: bytes
    after: bytes
    method: str
    place: int
    name: bytes
    head: AnswerHead

    def with_length(self, digits: bytes, length: int) -> AnswerHead:
        """What it would have said with other digits."""
        said, headers = self.head, self.head.headers.copy()
        headers[self.place] = (self.name, digits)
        return replace(said, headers=headers, fields=said.fields | {b"content-length": digits}, length=length)


class RepeatedHead:
    """Remembers the last head of one connection, what it says, and what the client was told for it.

    Both depend on nothing but the head's bytes and the parameters, and all of these are compared each time but for the
    digits of the length; those may be any that do not say 0 (a body without bytes is framed otherwise). A head without
    such a length is not remembered.
    """

    __slots__ = ("_digits", "_known", "_told", "_told_for")

    def __init__(self) -> None:
        self._known: _Known | None = None
        self._digits = b""
        self._told_for: tuple[object, ...] = ()
        self._told = (b"", b"")

    def read(self, head: bytes, method: str) -> AnswerHead:
        """What a whole head says: :func:`read_head`.

        Raises:
            BadAnswerError: as there.
        """
        known = self._known
        if known is not None and method == known.method:
            # Where either part is another one it stays, and neither is made of digits.
            digits = head.removeprefix(known.before).removesuffix(known.after)
            if digits.isdigit() and len(digits) <= _MOST_DIGITS and (length := int(digits)):
                self._digits = digits
                return known.with_length(digits, length)
        return self._learn(head, method)

    def _learn(self, head: bytes, method: str) -> AnswerHead:
        self._known, self._digits, self._told_for = None, b"", ()
        said = read_head(head, method)
        line = _LENGTH_LINE.search(head) if said.framing is Framing.LENGTH else None
        if line is not None:
            place = next(at for at, (name, _) in enumerate(said.headers) if name.lower() == b"content-length")
            before, self._digits, after = head[: line.start(1)], line[1], head[line.end(1) :]
            self._known = _Known(before, after, method, place, said.headers[place][0], said)
        return said

    def for_client(self, said: AnswerHead, added: Sequence[tuple[str, str]], *, modern: bool, closes: bool) -> bytes:
        """The head for the client: :func:`client_head`, for what :meth:`read` returned last."""
        second = int(time())
        asked = (tuple(added), modern, closes, second)
        if self._digits and asked == self._told_for:
            before, after = self._told
            return before + self._digits + after
        told = client_head(said, added, modern=modern, closes=closes, second=second)
        is_ours = any(name.lower() == "content-length" for name, _ in added)
        line = _LENGTH_LINE.search(told) if self._digits and not is_ours else None
        if line is not None:
            self._told_for, self._told = asked, (told[: line.start(1)], told[line.end(1) :])
        return told
