"""How lines look on stdout."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final

_COLOURS: Final = MappingProxyType({"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m"})
_PLAIN: Final = "\x1b[0m"


class LogFormat(StrEnum):
    """How lines look on stdout; ``auto`` is human on a terminal and logfmt elsewhere."""

    AUTO = "auto"
    HUMAN = "human"
    JSON = "json"
    LOGFMT = "logfmt"


def painted(line: str, level: str) -> str:
    """A line in the colour of its level, for a terminal."""
    colour = _COLOURS.get(level)
    return f"{colour}{line}{_PLAIN}" if colour else line
