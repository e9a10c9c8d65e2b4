"""The line of a finished request, as people and as machines read it.

There is one for each request, so it does not pass through structlog: its chain of processors takes four times as long.
What clients send is the same few words over and over, so lines are kept as forms into which only numbers are put.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from llama_swap.logs.formats import LogFormat, painted
from llama_swap.logs.text import escaped, logfmt_value, quoted
from llama_swap.logs.timestamps import render_time

# What probes and the status page ask for over and over; llama-swap leaves most of these out as well.
QUIET_PATHS: Final = frozenset({"/health", "/wol-health", "/metrics", "/api/performance", "/api/status"})
_NAMES: Final = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning"}
_REQUEST_LINE_LIMIT: Final = 1000
_USER_AGENT_LIMIT: Final = 300
_FIRST_SERVER_ERROR: Final = 500
_FIRST_CLIENT_ERROR: Final = 400
_KEPT_FORMS: Final = 256
_HIDDEN: Final = "%.0s"
"""Takes a value and shows nothing."""


class RequestRecord(msgspec.Struct, frozen=True, gc=False):
    """What is said about one request once it is over.

    Times are in milliseconds, and None where it never came to that.

    Attributes:
        client: the address it came from.
        path: as sent; whatever follows a ``?`` is not logged, it can carry secrets.
        http: the version, ``1.1``.
        sent_bytes: of the answer's body.
        model: the ID of the model that served it, None if no model was involved.
        requested: the name that the client used, if that is not the ID.
        queue_ms: from arrival to the lease, without the load of the model.
        load_ms: how long it waited for the model to start.
        first_byte_ms: from arrival to the first byte of the answer.
        outcome: how it ended, ``ok`` or what went wrong.
    """

    client: str
    method: str
    path: str
    http: str
    status: int
    sent_bytes: int
    user_agent: str
    total_ms: float
    model: str | None = None
    requested: str | None = None
    queue_ms: float | None = None
    load_ms: float | None = None
    first_byte_ms: float | None = None
    outcome: str = "ok"


class _Words(msgspec.Struct, frozen=True, gc=False):
    """What requests of one kind have in common: all but times and sizes. Texts are cut short."""

    client: str
    method: str
    path: str
    http: str
    status: int
    user_agent: str
    outcome: str
    model: str | None
    requested: str | None
    has_queue: bool
    has_load: bool
    has_first_byte: bool


class _Forms(NamedTuple):
    """The line of a request for people and as it is printed, for the ``%`` operator.

    Both take the time where lines begin with it, the bytes sent, and milliseconds: in all and those that there are of
    queue, load and first byte.
    """

    sentence: str
    printed: str


class _Put(NamedTuple):
    """Stands in a form for a value that is put in."""

    form: str


_INTEGER: Final = _Put("%d")
_TENTHS: Final = _Put("%.1f")

_QUOTING: Final[Mapping[LogFormat, Callable[[object], str]]] = MappingProxyType(
    {LogFormat.LOGFMT: logfmt_value, LogFormat.JSON: json.dumps, LogFormat.HUMAN: str}
)


class RequestLog:
    """Call it with what is known of a finished request.

    Args:
        level: of the standard library's; lines below it are not written.
        time_format: a value of ``logTimeFormat``.
        form: of the printed line; never ``auto``.
        coloured: for a terminal.
        emit: takes a line as people read it and as it is printed.
    """

    __slots__ = ("_emit", "_forms_of", "_quote", "_time_format")

    def __init__(
        self, level: int, time_format: str, form: LogFormat, *, coloured: bool, emit: Callable[[str, str], None]
    ) -> None:
        self._time_format = time_format if render_time(time_format, 0) else ""
        self._quote = _QUOTING[form]
        self._emit = emit

        @lru_cache(maxsize=_KEPT_FORMS)
        def forms_of(words: _Words) -> _Forms | None:
            if _level_of(words) < level:
                return None
            return _forms(words, form, coloured=coloured, is_timed=bool(self._time_format))

        self._forms_of = forms_of

    def __call__(self, record: RequestRecord) -> None:
        """Write the line unless its level is hidden."""
        queue_ms, load_ms, first_ms = record.queue_ms, record.load_ms, record.first_byte_ms
        words = _Words(
            record.client,
            record.method,
            record.path.partition("?")[0][: _REQUEST_LINE_LIMIT + 1],
            record.http,
            record.status,
            record.user_agent[: _USER_AGENT_LIMIT + 1],
            record.outcome,
            record.model,
            record.model and record.requested,
            queue_ms is not None,
            load_ms is not None,
            first_ms is not None,
        )
        forms = self._forms_of(words)
        if forms is None:
            return
        values: tuple[float | None, ...] = (record.sent_bytes, record.total_ms, queue_ms, load_ms, first_ms)
        if None in values:
            values = tuple(value for value in values if value is not None)
        if self._time_format:
            self._emit_timed(forms, values)
        else:
            self._emit(forms.sentence % values, forms.printed % values)

    def _emit_timed(self, forms: _Forms, values: tuple[float | None, ...]) -> None:
        at = render_time(self._time_format, time.time_ns())
        self._emit(forms.sentence % (at, *values), forms.printed % (self._quote(at), *values))


def _level_of(words: _Words) -> int:
    """A warning if the server is to blame, not shown by default if it is a probe that went well."""
    if words.status >= _FIRST_SERVER_ERROR:
        return logging.WARNING
    if words.status < _FIRST_CLIENT_ERROR and words.path in QUIET_PATHS:
        return logging.DEBUG
    return logging.INFO


def _forms(words: _Words, form: LogFormat, *, coloured: bool, is_timed: bool) -> _Forms:
    level = _NAMES[_level_of(words)]
    sentence = f"{'%s ' if is_timed else ''}{level.upper():<7} {_sentence(words)}"
    if form is LogFormat.HUMAN:
        return _Forms(sentence, painted(sentence, level) if coloured else sentence)
    shown = {"time": "%s"} if is_timed else {}
    for key, value in _fields(words, level).items():
        shown[key] = value.form if isinstance(value, _Put) else _literal(_QUOTING[form](value))
    if form is LogFormat.JSON:
        members = ", ".join(f'"{key}": {value}' for key, value in shown.items())
        return _Forms(sentence, f"{{{members}}}")
    return _Forms(sentence, " ".join(f"{key}={value}" for key, value in shown.items()))


def _sentence(words: _Words) -> str:
    """Shaped like llama-swap's."""
    request = quoted(f"{words.method} {words.path} HTTP/{words.http}", _REQUEST_LINE_LIMIT)
    agent = quoted(words.user_agent, _USER_AGENT_LIMIT)
    said = f"Request {_literal(words.client)} {_literal(request)} {words.status} %d {_literal(agent)} total=%.0fms"
    if words.model is not None:
        said += f" model={_literal(escaped(words.model))}"
    if words.requested is not None and words.requested != words.model:
        said += f" requested={_literal(escaped(words.requested))}"
    said += " queue=%.0fms" if words.has_queue else ""
    said += " load=%.0fms" if words.has_load else ""
    said += " first=%.0fms" if words.has_first_byte else ""
    return said if words.outcome == "ok" else f"{said} outcome={_literal(words.outcome)}"


def _fields(words: _Words, level: str) -> dict[str, str | int | _Put]:
    """What machines read."""
    fields: dict[str, str | int | _Put] = {
        "level": level,
        "event": "request",
        "client": words.client,
        "method": words.method,
        "path": words.path[:_REQUEST_LINE_LIMIT],
        "http": words.http,
        "status": words.status,
        "bytes": _INTEGER,
        "user_agent": words.user_agent[:_USER_AGENT_LIMIT],
        "total_ms": _TENTHS,
        "outcome": words.outcome,
    }
    if words.model is not None:
        fields |= {"model": words.model, "requested": words.requested or words.model}
    times = {"queue_ms": words.has_queue, "load_ms": words.has_load, "first_byte_ms": words.has_first_byte}
    return fields | {key: _TENTHS for key, is_known in times.items() if is_known}


def _literal(text: str) -> str:
    """Text that the ``%`` operator leaves as it is."""
    return text.replace("%", "%%")
