"""structlog set up so that one call gives two texts: a sentence for the log hub, and the chosen format for stdout."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, BinaryIO, Final

import structlog

from llama_swap.logs.formats import LogFormat, painted
from llama_swap.logs.hub import LogHub, StdoutChoice
from llama_swap.logs.lines import HUMAN
from llama_swap.logs.requests import RequestLog
from llama_swap.logs.stdout import StdoutWriter
from llama_swap.logs.text import escaped, escaped_lines, logfmt_value
from llama_swap.logs.timestamps import render_time

LEVELS: Final = MappingProxyType(
    {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
)
# The values of fields with these names are never printed, whoever logs them.
_SECRET_FIELDS: Final = frozenset({"authorization", "x-api-key", "api_key", "api_keys", "cookie", "password", "token"})
_HANDLER: Final = "llama-swap"

Fields = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What the configuration and the command line say about logs.

    Attributes:
        level: ``debug``, ``info``, ``warn`` or ``error`` in any case; anything else counts as ``info``.
        time_format: a value of ``logTimeFormat``; empty or unknown is no timestamp.
        to_stdout: a value of ``logToStdout``.
        format: of the lines on stdout; readers of the hub always get the human form.
    """

    level: str = "info"
    time_format: str = ""
    to_stdout: StdoutChoice = StdoutChoice.PROXY
    format: LogFormat = LogFormat.AUTO


class _Output:
    """Where finished lines go: the hub always, and ``write`` if there is one. structlog calls it by a level's name."""

    __slots__ = ("_hub", "_write")

    def __init__(self, hub: LogHub, write: Callable[[bytes], None] | None) -> None:
        self._hub = hub
        self._write = write

    def emit(self, sentence: str, printed: str) -> None:
        self._hub.write_proxy(sentence)
        if self._write is not None:
            self._write(printed.encode("utf-8", "backslashreplace") + b"\n")

    def emit_lines(self, sentences: Sequence[bytes], printed: Sequence[bytes]) -> None:
        self._hub.write_proxy_lines(sentences)
        if self._write is not None:
            self._write(b"".join(printed))

    debug = info = warning = error = critical = emit


@dataclass(frozen=True, slots=True)
class _Renderer:
    """The last processor: the fields of an event -> (sentence for the hub, line for stdout)."""

    format: LogFormat
    coloured: bool

    def __call__(self, _logger: Any, _method: str, fields: Fields) -> tuple[tuple[str, str], dict[str, Any]]:
        head = {key: fields.pop(key) for key in ("time", "level", "event") if key in fields}
        rest = {key: "[redacted]" if key.lower() in _SECRET_FIELDS else value for key, value in fields.items()}
        fields = head | rest
        sentence = fields.pop(HUMAN, None)
        human = _human(fields, sentence)
        if self.format is LogFormat.JSON:
            return (human, json.dumps(fields, default=str)), {}
        if self.format is LogFormat.LOGFMT:
            return (human, _logfmt(fields)), {}
        return (human, painted(human, fields["level"]) if self.coloured else human), {}


def set_up_logging(hub: LogHub, settings: LogSettings, *, stdout: BinaryIO | None = None) -> None:
    """Make ``structlog.get_logger()`` and the standard library's loggers write to the hub and to stdout.

    May be called again with other settings (after a reload); loggers obtained before follow.

    Args:
        hub: keeps the lines and prints none itself; told here what ``logToStdout`` says.
        settings: from the configuration and the command line.
        stdout: where lines are printed; the process's own by default.
    """
    stream = sys.stdout.buffer if stdout is None else stdout
    terminal = stream.isatty()
    form = settings.format
    if form is LogFormat.AUTO:
        form = LogFormat.HUMAN if terminal else LogFormat.LOGFMT
    write = StdoutWriter(stream, _mark(form))
    coloured = terminal and not os.environ.get("NO_COLOR")
    output = _Output(hub, write if settings.to_stdout.includes_proxy else None)
    level = LEVELS.get(settings.level.lower(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _timestamper(settings.time_format),
            _Renderer(form, coloured=coloured),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_args: output,
        # A logger that was cached would keep the level and the format from before a reload.
        cache_logger_on_first_use=False,
    )
    hub.print_on_stdout(settings.to_stdout, _echo(write, form, settings.time_format))
    hub.write_requests(RequestLog(level, settings.time_format, form, coloured=coloured, write=output.emit_lines))
    hub.shows_debug = level <= logging.DEBUG
    _take_standard_library(level)


def _mark(form: LogFormat) -> Callable[[int], bytes]:
    """The line on stdout that stands for lines that nobody read in time."""

    def mark(dropped: int) -> bytes:
        fields = {"level": "warning", "event": "lines dropped", "lines": dropped}
        if form is LogFormat.JSON:
            return json.dumps(fields).encode() + b"\n"
        if form is LogFormat.LOGFMT:
            return _logfmt(fields).encode() + b"\n"
        return b"[%d lines dropped: stdout was not read]\n" % dropped

    return mark


def _timestamper(time_format: str) -> Callable[[Any, str, Fields], Fields]:
    def stamp(_logger: Any, _method: str, fields: Fields) -> Fields:
        at = render_time(time_format, time.time_ns())
        return {"time": at, **fields} if at else fields

    return stamp


def _echo(write: Callable[[bytes], None], form: LogFormat, time_format: str) -> Callable[[str, bytes], None]:
    """How a line of a model's output is printed: as it is for people, as a record of its own for machines."""

    def raw(_model: str, line: bytes) -> None:
        write(line)

    def structured(model: str, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        fields = {"level": "info", "event": "output", "model": model, "line": text}
        if at := render_time(time_format, time.time_ns()):
            fields = {"time": at, **fields}
        printed = json.dumps(fields) if form is LogFormat.JSON else _logfmt(fields)
        write(printed.encode() + b"\n")

    return raw if form is LogFormat.HUMAN else structured


def _human(fields: Fields, sentence: str | None) -> str:
    """``TIME LEVEL sentence key=value ...``; a traceback follows on lines of its own, indented."""
    head = [fields["time"]] if "time" in fields else []
    head.append(f"{fields['level'].upper():<7}")
    if sentence is not None:
        head.append(escaped(sentence))
    else:
        head.append(escaped(str(fields.get("event", ""))))
        rest = {key: value for key, value in fields.items() if key not in ("time", "level", "event", "exception")}
        if rest:
            head.append(_logfmt(rest))
    line = " ".join(head)
    if trace := fields.get("exception"):
        line += "\n    " + escaped_lines(str(trace)).replace("\n", "\n    ")
    return line


def _logfmt(fields: Fields) -> str:
    return " ".join(f"{key}={logfmt_value(value)}" for key, value in fields.items())


def _take_standard_library(level: int) -> None:
    """Let warnings of libraries (asyncio, aiohttp) appear in our log; their chatter only when debugging."""
    handler = logging.Handler()
    handler.name = _HANDLER

    def emit(record: logging.LogRecord) -> None:
        try:
            message, _, trace = handler.format(record).partition("\n")
            fields = {"exception": trace} if trace else {}
            severity = max(logging.DEBUG, min(record.levelno // 10 * 10, logging.CRITICAL))
            structlog.get_logger().log(severity, message, logger=record.name, **fields)
        except Exception:  # noqa: BLE001 - as handlers do: a record that cannot be formatted is its caller's bug
            handler.handleError(record)

    handler.emit = emit  # type: ignore[method-assign] # instead of a class; QueueHandler's module takes half a megabyte
    root = logging.getLogger()
    for old in root.handlers[:]:
        if old.name == _HANDLER:
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO if level == logging.DEBUG else max(level, logging.WARNING))
