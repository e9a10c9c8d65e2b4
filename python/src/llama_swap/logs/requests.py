"""The line of a finished request, as people and as machines read it.

There is one for each request, so it does not pass through structlog: its chain of processors takes four times as long.
What clients send is the same few words over and over, so lines are kept as forms into which only numbers are put.
Requests that end in the same pass of the event loop are written together, for to print takes as long as all the rest.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

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
_MOST_GATHERED: Final = 64
_ALL_KNOWN: Final = (True, True, True)


class RequestWords(msgspec.Struct, frozen=True, gc=False):
    """What a request's line says of its head; made by :meth:`of`.

    Attributes:
        client: the address it came from.
        http: the version, ``1.1``.
    """

    client: str
    method: str
    path: str
    http: str
    user_agent: str

    @classmethod
    def of(cls, client: str, method: str, target: str, http: str, user_agent: str) -> Self:
        """Of what was sent; whatever follows a ``?`` is not logged, it can carry secrets. Long texts are cut short."""
        path = target.partition("?")[0]
        # One more than is shown: so it can be seen that something was cut.
        return cls(client, method, path[: _REQUEST_LINE_LIMIT + 1], http, user_agent[: _USER_AGENT_LIMIT + 1])


class RequestRecord(msgspec.Struct, frozen=True, gc=False):
    """What is said about one request once it is over.

    Times are in milliseconds, and None where it never came to that.

    Attributes:
        words: of its head; the same object for many requests where their heads are the same.
        sent_bytes: of the answer's body.
        model: the ID of the model that served it, None if no model was involved.
        requested: the name that the client used, if that is not the ID.
        queue_ms: from arrival to the lease, without the load of the model.
        load_ms: how long it waited for the model to start.
        first_byte_ms: from arrival to the first byte of the answer.
        outcome: how it ended, ``ok`` or what went wrong.
    """

    words: RequestWords
    status: int
    sent_bytes: int
    total_ms: float
    model: str | None = None
    requested: str | None = None
    queue_ms: float | None = None
    load_ms: float | None = None
    first_byte_ms: float | None = None
    outcome: str = "ok"


class _Kind(NamedTuple):
    """What requests of one kind have in common: all but times and sizes.

    Attributes:
        known: which there are of queue, load and first byte.
    """

    words: RequestWords
    status: int
    outcome: str
    model: str | None
    requested: str | None
    known: tuple[bool, ...]


class _Forms(NamedTuple):
    """The line of a request for people and as it is printed, in UTF-8 with its newline, for the ``%`` operator.

    Both take the time where lines begin with it, the bytes sent, and milliseconds: in all and those that there are of
    queue, load and first byte.
    """

    sentence: bytes
    printed: bytes


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

    Lines are written in the order of the calls, at the latest in the event loop's next pass; a warning, and what comes
    without a running loop, at once. Whoever writes or reads other lines calls :meth:`settle` before.

    Args:
        level: of the standard library's; lines below it are not written.
        time_format: a value of ``logTimeFormat``.
        form: of the printed line; never ``auto``.
        coloured: for a terminal.
        write: takes lines as people read them, and the same lines as they are printed.
    """

    __slots__ = ("_forms_of", "_gathered", "_quote", "_time_format", "_write")

    def __init__(
        self,
        level: int,
        time_format: str,
        form: LogFormat,
        *,
        coloured: bool,
        write: Callable[[Sequence[bytes], Sequence[bytes]], None],
    ) -> None:
        self._time_format = time_format if render_time(time_format, 0) else ""
        self._quote = _QUOTING[form]
        self._write = write
        self._gathered: list[RequestRecord] = []

        @lru_cache(maxsize=_KEPT_FORMS)
        def forms_of(*common: Any) -> _Forms | None:
            kind = _Kind(*common)
            if _level_of(kind) < level:
                return None
            return _forms(kind, form, coloured=coloured, is_timed=bool(self._time_format))

        self._forms_of = forms_of

    def __call__(self, record: RequestRecord) -> None:
        """Write the line unless its level is hidden."""
        gathered = self._gathered
        gathered.append(record)
        if record.status >= _FIRST_SERVER_ERROR or len(gathered) >= _MOST_GATHERED:
            self.settle()
        elif len(gathered) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.settle)
            except RuntimeError:
                self.settle()

    def settle(self) -> None:
        """Write what was gathered."""
        records = self._gathered
        if not records:
            return
        self._gathered = []
        for_people, for_machines = self._now()
        sentences, printed = [], []
        for record in records:
            waits: tuple[float | None, ...] = (record.queue_ms, record.load_ms, record.first_byte_ms)
            known: tuple[bool, ...] = _ALL_KNOWN
            if None in waits:
                known = tuple(wait is not None for wait in waits)
                waits = tuple(wait for wait in waits if wait is not None)
            model = record.model
            forms = self._forms_of(
                record.words, record.status, record.outcome, model, model and record.requested, known
            )
            if forms is None:
                continue
            values = (record.sent_bytes, record.total_ms, *waits)
            sentences.append(forms.sentence % (for_people + values))
            printed.append(forms.printed % (for_machines + values))
        if sentences:
            self._write(sentences, printed)

    def _now(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """What stands before the numbers: the time, for people and as it is printed, where lines begin with it."""
        if not self._time_format:
            return (), ()
        at = render_time(self._time_format, time.time_ns())
        return (at.encode(),), (self._quote(at).encode(),)


def _level_of(kind: _Kind) -> int:
    """A warning if the server is to blame, not shown by default if it is a probe that went well."""
    if kind.status >= _FIRST_SERVER_ERROR:
        return logging.WARNING
    if kind.status < _FIRST_CLIENT_ERROR and kind.words.path in QUIET_PATHS:
        return logging.DEBUG
    return logging.INFO


def _forms(kind: _Kind, form: LogFormat, *, coloured: bool, is_timed: bool) -> _Forms:
    level = _NAMES[_level_of(kind)]
    sentence = f"{'%s ' if is_timed else ''}{level.upper():<7} {_sentence(kind)}"
    if form is LogFormat.HUMAN:
        return _Forms(_line(sentence), _line(painted(sentence, level) if coloured else sentence))
    shown = {"time": "%s"} if is_timed else {}
    for key, value in _fields(kind, level).items():
        shown[key] = value.form if isinstance(value, _Put) else _literal(_QUOTING[form](value))
    if form is LogFormat.JSON:
        members = ", ".join(f'"{key}": {value}' for key, value in shown.items())
        return _Forms(_line(sentence), _line(f"{{{members}}}"))
    return _Forms(_line(sentence), _line(" ".join(f"{key}={value}" for key, value in shown.items())))


def _line(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _sentence(kind: _Kind) -> str:
    """Shaped like llama-swap's."""
    request = quoted(f"{kind.words.method} {kind.words.path} HTTP/{kind.words.http}", _REQUEST_LINE_LIMIT)
    agent = quoted(kind.words.user_agent, _USER_AGENT_LIMIT)
    said = f"Request {_literal(kind.words.client)} {_literal(request)} {kind.status} %d {_literal(agent)} total=%.0fms"
    if kind.model is not None:
        said += f" model={_literal(escaped(kind.model))}"
    if kind.requested is not None and kind.requested != kind.model:
        said += f" requested={_literal(escaped(kind.requested))}"
    for name, is_known in zip(("queue", "load", "first"), kind.known, strict=True):
        said += f" {name}=%.0fms" if is_known else ""
    return said if kind.outcome == "ok" else f"{said} outcome={_literal(kind.outcome)}"


def _fields(kind: _Kind, level: str) -> dict[str, str | int | _Put]:
    """What machines read."""
    fields: dict[str, str | int | _Put] = {
        "level": level,
        "event": "request",
        "client": kind.words.client,
        "method": kind.words.method,
        "path": kind.words.path[:_REQUEST_LINE_LIMIT],
        "http": kind.words.http,
        "status": kind.status,
        "bytes": _INTEGER,
        "user_agent": kind.words.user_agent[:_USER_AGENT_LIMIT],
        "total_ms": _TENTHS,
        "outcome": kind.outcome,
    }
    if kind.model is not None:
        fields |= {"model": kind.model, "requested": kind.requested or kind.model}
    times = zip(("queue_ms", "load_ms", "first_byte_ms"), kind.known, strict=True)
    return fields | {key: _TENTHS for key, is_known in times if is_known}


def _literal(text: str) -> str:
    """Text that the ``%`` operator leaves as it is."""
    return text.replace("%", "%%")
