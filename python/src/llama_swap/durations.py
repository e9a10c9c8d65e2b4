"""Times as people write them on a command line and in a request: ``90``, ``5m``, ``1h30m``, ``300ms``.

The units are those of Go's ``time.ParseDuration``, which Ollama's ``keep_alive`` is read with, and ``d`` for days.
"""

import re
from typing import Final

LONGEST_SECONDS: Final = 1e10
"""Centuries; more is a mistake, and more than clocks and timers take."""

FORMS: Final = 'a number of seconds, or a text like "90s", "5m", "1h30m"'
"""What :func:`parse_duration` takes, for people."""

_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d)")
_WHOLE: Final = re.compile(rf"[+-]?(?:{_PART.pattern})+")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{0,15})?")
_UNIT_SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,  # the micro sign
    "μs": 1e-6,  # the Greek letter, which looks the same
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_LONGEST_TEXT: Final = 64


def parse_duration(text: str) -> float:
    """Seconds; a number without a unit is seconds, a minus sign makes all of it negative.

    Raises:
        ValueError: it is none of these, or longer than anybody waits.
    """
    text = text.strip()
    seconds = LONGEST_SECONDS
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"{text[:_LONGEST_TEXT]!r}... is not a time")
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif _WHOLE.fullmatch(text):
        total = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(text))
        seconds = -total if text.startswith("-") else total
    if abs(seconds) < LONGEST_SECONDS:
        return seconds
    raise ValueError(f"{text!r} is not a time")
