"""Text from outside made safe to print: a client must not be able to forge a log line or to steer a terminal."""

import re
from typing import Final

# C0 and C1 controls, line and paragraph separators, marks that turn the direction of writing, lone surrogates.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_BUT_LINES: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

_NOT_A_WORD: Final = re.compile(_UNSAFE.pattern[:-1] + ' ="\\\\]')


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")


def escaped(text: str) -> str:
    r"""The text with every character that is not to be printed written out (``\n``, ``\x1b``, ``\u2028``)."""
    return _UNSAFE.sub(_escape, text)


def escaped_lines(text: str) -> str:
    """The same for text of our own that has several lines (a traceback): newlines stay."""
    return _UNSAFE_BUT_LINES.sub(_escape, text)


def quoted(text: str, limit: int) -> str:
    """The text in double quotes, escaped and cut to a number of characters."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return '"' + escaped(cut.replace("\\", "\\\\")).replace('"', '\\"') + '"'


def logfmt_value(value: object) -> str:
    """A value of a ``key=value`` pair: in quotes where it would otherwise not be one word."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if text and not _NOT_A_WORD.search(text):
        return text
    return '"' + escaped(text.replace("\\", "\\\\")).replace('"', '\\"') + '"'
