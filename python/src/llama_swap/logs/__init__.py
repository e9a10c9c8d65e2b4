"""What the service and its models write: kept for readers, followed live, and printed on stdout."""

from llama_swap.logs.formats import LogFormat
from llama_swap.logs.hub import COMBINED, HISTORY_BYTES, PROXY, UPSTREAM, LogHub, StdoutChoice
from llama_swap.logs.lines import log_decision
from llama_swap.logs.pipeline import LogSettings, set_up_logging
from llama_swap.logs.requests import RequestRecord, RequestWords

__all__ = [
    "COMBINED",
    "HISTORY_BYTES",
    "PROXY",
    "UPSTREAM",
    "LogFormat",
    "LogHub",
    "LogSettings",
    "RequestRecord",
    "RequestWords",
    "StdoutChoice",
    "log_decision",
    "set_up_logging",
]
