"""Writes the line of a finished request in the formats that are set up.

There is one for each request, so it does not pass through structlog: its chain of processors takes four times as long.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from llama_swap.logs.formats import LogFormat, painted
from llama_swap.logs.lines import RequestRecord, level_of, request_fields, request_sentence, shown_agent, shown_path
from llama_swap.logs.text import logfmt_value
from llama_swap.logs.timestamps import render_time

_NAMES: Final = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning"}
# What clients send is the same few words over and over, and cut short before it comes here.
_value = lru_cache(maxsize=256)(logfmt_value)


@dataclass(frozen=True, slots=True)
class RequestLog:
    """Call it with what is known of a finished request.

    Attributes:
        level: of the standard library's; lines below it are not written.
        time_format: a value of ``logTimeFormat``.
        form: of the printed line; never ``auto``.
        emit: takes a line as people read it and as it is printed.
    """

    level: int
    time_format: str
    form: LogFormat
    coloured: bool
    emit: Callable[[str, str], None]

    def __call__(self, record: RequestRecord) -> None:
        """Write the line unless its level is hidden."""
        level = level_of(record)
        if level < self.level:
            return
        name = _NAMES[level]
        at = render_time(self.time_format, time.time_ns()) if self.time_format else ""
        human = (
            f"{at} {name.upper():<7} {request_sentence(record)}"
            if at
            else f"{name.upper():<7} {request_sentence(record)}"
        )
        match self.form:
            case LogFormat.LOGFMT:
                printed = _logfmt(record, name, at)
            case LogFormat.JSON:
                head = {"time": at} if at else {}
                printed = json.dumps({**head, "level": name, "event": "request", **request_fields(record)})
            case _:
                printed = painted(human, name) if self.coloured else human
        self.emit(human, printed)


def _logfmt(record: RequestRecord, level: str, at: str) -> str:
    """What :func:`request_fields` says, as ``key=value`` pairs; spelled out, for the loop took three times as long."""
    path, agent = shown_path(record), shown_agent(record)
    line = (
        f"level={level} event=request client={_value(record.client)} method={_value(record.method)} path={_value(path)}"
        f" http={record.http} status={record.status} bytes={record.sent_bytes} user_agent={_value(agent)}"
        f" total_ms={round(record.total_ms, 1)} outcome={_value(record.outcome)}"
    )
    if record.model is not None:
        line += f" model={_value(record.model)} requested={_value(record.requested or record.model)}"
        if record.queue_ms is not None:
            line += f" queue_ms={round(record.queue_ms, 1)}"
        if record.load_ms is not None:
            line += f" load_ms={round(record.load_ms, 1)}"
        if record.first_byte_ms is not None:
            line += f" first_byte_ms={round(record.first_byte_ms, 1)}"
    return f"time={_value(at)} {line}" if at else line
