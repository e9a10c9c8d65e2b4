"""The values of ``logTimeFormat``: the named layouts of Go's ``time`` package, which llama-swap takes.

Each function renders a point in local time. An unknown or empty name means no timestamp, as in llama-swap.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

# Not strftime's %a and %b: those follow the locale, the layouts are English.
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HALF_DAY_HOURS: Final = 12


def _day(at: datetime) -> str:
    return _DAYS[at.weekday()][:3]


def _month(at: datetime) -> str:
    return _MONTHS[at.month - 1]


def _clock(at: datetime) -> str:
    return f"{at.hour:02}:{at.minute:02}:{at.second:02}"


def _offset(at: datetime, separator: str = "") -> str:
    offset = at.utcoffset()
    minutes = round(offset.total_seconds() / 60) if offset else 0
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}{separator}{abs(minutes) % 60:02}"


def _rfc3339_zone(at: datetime) -> str:
    return _offset(at, ":") if at.utcoffset() else "Z"


def _stamp(at: datetime) -> str:
    return f"{_month(at)} {at.day:2} {_clock(at)}"


def _ansic(at: datetime, _nanos: int) -> str:
    return f"{_day(at)} {_stamp(at)} {at.year}"


def _unixdate(at: datetime, _nanos: int) -> str:
    return f"{_day(at)} {_stamp(at)} {at.tzname()} {at.year}"


def _rubydate(at: datetime, _nanos: int) -> str:
    return f"{_day(at)} {_month(at)} {at.day:02} {_clock(at)} {_offset(at)} {at.year}"


def _rfc822(at: datetime, _nanos: int) -> str:
    return f"{at.day:02} {_month(at)} {at.year % 100:02} {at.hour:02}:{at.minute:02} {at.tzname()}"


def _rfc822z(at: datetime, _nanos: int) -> str:
    return f"{at.day:02} {_month(at)} {at.year % 100:02} {at.hour:02}:{at.minute:02} {_offset(at)}"


def _rfc850(at: datetime, _nanos: int) -> str:
    day = _DAYS[at.weekday()]
    return f"{day}, {at.day:02}-{_month(at)}-{at.year % 100:02} {_clock(at)} {at.tzname()}"


def _rfc1123(at: datetime, _nanos: int) -> str:
    return f"{_day(at)}, {at.day:02} {_month(at)} {at.year} {_clock(at)} {at.tzname()}"


def _rfc1123z(at: datetime, _nanos: int) -> str:
    return f"{_day(at)}, {at.day:02} {_month(at)} {at.year} {_clock(at)} {_offset(at)}"


def _rfc3339(at: datetime, _nanos: int) -> str:
    return f"{at.year:04}-{at.month:02}-{at.day:02}T{_clock(at)}{_rfc3339_zone(at)}"


def _rfc3339nano(at: datetime, nanos: int) -> str:
    # Go's layout of nines leaves out trailing zeros, and the point when all are zero.
    fraction = f".{nanos:09}".rstrip("0").rstrip(".")
    return f"{at.year:04}-{at.month:02}-{at.day:02}T{_clock(at)}{fraction}{_rfc3339_zone(at)}"


def _kitchen(at: datetime, _nanos: int) -> str:
    hour = at.hour % _HALF_DAY_HOURS or _HALF_DAY_HOURS
    return f"{hour}:{at.minute:02}{'AM' if at.hour < _HALF_DAY_HOURS else 'PM'}"


def _stamp_seconds(at: datetime, _nanos: int) -> str:
    return _stamp(at)


def _stamp_milli(at: datetime, nanos: int) -> str:
    return f"{_stamp(at)}.{nanos // 1_000_000:03}"


def _stamp_micro(at: datetime, nanos: int) -> str:
    return f"{_stamp(at)}.{nanos // 1000:06}"


def _stamp_nano(at: datetime, nanos: int) -> str:
    return f"{_stamp(at)}.{nanos:09}"


TIME_FORMATS: Final[Mapping[str, Callable[[datetime, int], str]]] = MappingProxyType(
    {
        "ansic": _ansic,
        "unixdate": _unixdate,
        "rubydate": _rubydate,
        "rfc822": _rfc822,
        "rfc822z": _rfc822z,
        "rfc850": _rfc850,
        "rfc1123": _rfc1123,
        "rfc1123z": _rfc1123z,
        "rfc3339": _rfc3339,
        "rfc3339nano": _rfc3339nano,
        "kitchen": _kitchen,
        "stamp": _stamp_seconds,
        "stampmilli": _stamp_milli,
        "stampmicro": _stamp_micro,
        "stampnano": _stamp_nano,
    }
)


def render_time(name: str, epoch_nanoseconds: int) -> str:
    """A point in time in a named layout, in local time; empty for a name that is not in ``TIME_FORMATS``."""
    layout = TIME_FORMATS.get(name.lower())
    if layout is None:
        return ""
    seconds, nanos = divmod(epoch_nanoseconds, 1_000_000_000)
    return layout(datetime.fromtimestamp(seconds, tz=UTC).astimezone(), nanos)
