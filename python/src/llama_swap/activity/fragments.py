"""Objects inside a JSON document of which only the beginning or only the end is known.

A long answer is not kept whole, and its usage stands before or behind what is long. Searching for ``"usage"`` would
also find it in the text that a model wrote, so both functions lex: from the start of a document forward, and from the
end of one backward. Backward is exact too: outside of a string, a quote ends one, and inside of it every quote has an
odd number of backslashes before it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

Found = dict[bytes, bytes]
"""Name -> the text of the object that is its value."""

_FORWARD = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\]:]', re.DOTALL)
# The same in reversed text, where backslashes come after the quote that they escape.
_BACKWARD = re.compile(rb'"[^"]*+(?:"(?=\\(?:\\\\)*+(?!\\))[^"]*+)*+"|["{}\[\]:]')
_QUOTE, _COLON = ord('"'), ord(":")
_OPENING, _CLOSING = frozenset(b"{["), frozenset(b"}]")
_OBJECT_END, _ARRAY_END = ord("}"), ord("]")
_DEPTH_OF_INTEREST = 2
_MOST_TOKENS = 4096
"""Usage is near its end of a document; this bounds the time at 2 ms whatever the text."""
_NO_VALUE = (0, 0)


def _tokens(pattern: re.Pattern[bytes], text: bytes) -> Iterator[re.Match[bytes]]:
    return islice(pattern.finditer(text), _MOST_TOKENS)


def objects_at_start(text: bytes, names: frozenset[bytes]) -> Found:
    """The values of these names at the top of a document that begins here, as far as they are complete objects.

    Args:
        text: the beginning of the document.
        names: with their quotes.
    """
    found: Found = {}
    depth, name, is_value, start = 0, b"", False, -1
    for token in _tokens(_FORWARD, text):
        first = text[token.start()]
        if first in _OPENING:
            if depth == 1 and is_value and name in names:
                start = token.start()
            depth += 1
        elif first in _CLOSING:
            depth -= 1
            if depth == 1 and start >= 0:
                found[name] = text[start : token.end()]
                start = -1
            if depth <= 0:
                break
        elif len(token.group()) == 1 and first == _QUOTE:
            break
        elif depth == 1:
            is_value = first == _COLON
            name = name if is_value else token.group()
    return found


@dataclass(slots=True)
class _BackwardReader:
    """Walks a reversed document and remembers what is still open.

    Args:
        text: reversed.
        names: not reversed, with their quotes.
        containers: likewise.

    Attributes:
        open: the closing brackets passed without their opening ones, with their positions; outermost first.
        value: start and end, in reversed text, of the object or array passed last.
        pending: what was found inside an object whose own name is not known yet.
    """

    text: bytes
    names: frozenset[bytes]
    containers: frozenset[bytes]
    open: list[tuple[int, int]] = field(default_factory=list)
    value: tuple[int, int] = _NO_VALUE
    after_colon: bool = False
    found: Found = field(default_factory=dict)
    pending: Found = field(default_factory=dict)

    def read(self) -> None:
        """Read until the document's start or the text's."""
        for token in _tokens(_BACKWARD, self.text):
            first = self.text[token.start()]
            if first in _CLOSING:
                self.open.append((first, token.start()))
            elif first in _OPENING:
                if self.open:
                    self.value = (self.open.pop()[1], token.end())
                if not self.open:
                    return
            elif first == _COLON:
                self.after_colon = True
                continue
            elif len(token.group()) == 1:
                return
            elif self.after_colon:
                self._named(token.group()[::-1])
                # The next name's value is another one, or none if it is a number.
                self.value = _NO_VALUE
            self.after_colon = False

    def _named(self, name: bytes) -> None:
        if len(self.open) > _DEPTH_OF_INTEREST:
            return
        kinds = [kind for kind, _ in self.open]
        if kinds == [_OBJECT_END] and self.pending:
            # The name of the object that everything pending was found in; only some of them count.
            if name in self.containers:
                self.found = {**self.pending, **self.found}
            self.pending = {}
        if name not in self.names or self.value == _NO_VALUE:
            return
        start, end = self.value
        if kinds in ([_OBJECT_END], [_ARRAY_END, _OBJECT_END]):
            self.found.setdefault(name, self.text[start:end][::-1])
        elif kinds == [_OBJECT_END, _OBJECT_END]:
            self.pending.setdefault(name, self.text[start:end][::-1])


def objects_at_end(text: bytes, names: frozenset[bytes], containers: frozenset[bytes]) -> Found:
    """The values of these names in a document that ends here.

    They count at its top, in the last element that has them where it is an array, and one level down.

    Args:
        text: the end of the document; nothing but white space may follow it.
        names: with their quotes.
        containers: names of the objects in which names one level down count; one whose name is not in the
            text counts as well.
    """
    reader = _BackwardReader(text[::-1], names, containers)
    reader.read()
    return {**reader.pending, **reader.found}
