"""Text for a terminal: aligned tables, durations, sizes, and nothing that could steer the terminal."""

import math
from collections.abc import Sequence
from typing import Final

_GAP: Final = "  "
_MINUTE: Final = 60
_HOUR: Final = 3600
_MIB: Final = 1024**2
_GIB: Final = 1024**3


def printable(text: str) -> str:
    """One line in which every character that is not to be printed is written out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode("ascii") for c in text)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows below their titles in columns as wide as needed; columns that are empty throughout are left out."""
    cells = [[printable(cell) for cell in row] for row in rows]
    shown = [column for column in range(len(titles)) if any(row[column] for row in cells)]
    lines = [[titles[column] for column in shown], *([row[column] for column in shown] for row in cells)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(shown))]
    return "".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def duration(seconds: float | None) -> str:
    """A time in the two largest units, rounded down: ``9s``, ``3m 20s``, ``2h 5m``; empty for None."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m {whole % _MINUTE}s"
    return f"{whole // _HOUR}h {whole % _HOUR // _MINUTE}m"


def remaining(seconds: float | None) -> str:
    """A time that is left, rounded up to a second, so that of ``--for 2h`` two hours are left at first."""
    return duration(None if seconds is None else math.ceil(seconds))


def size(count: int | None) -> str:
    """Bytes in the unit that a GPU is spoken of: ``17.2 GiB``, ``512 MiB``; empty for None."""
    if count is None:
        return ""
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / _MIB:.0f} MiB" if count else "0"
