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
from llama_swap.logs.lines import RequestRecord, level_of, request_fields, request_sentence
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
    """The same as ``key=value`` pairs; numbers need no quotes."""
    words = [f"time={_value(at)} level={level} event=request" if at else f"level={level} event=request"]
    for key, value in request_fields(record).items():
        words.append(f"{key}={_value(value) if type(value) is str else value}")
    return " ".join(words)
