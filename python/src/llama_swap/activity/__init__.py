"""What happened to each request: tokens, timings, outcome; the store; what is in flight; captures."""

from llama_swap.activity.captures import Captures, Exchanged
from llama_swap.activity.database import Limits, Page
from llama_swap.activity.inflight import InflightRequest, InflightState, InflightTable
from llama_swap.activity.query import SORT_COLUMNS, ActivityQuery
from llama_swap.activity.recorder import Recorder
from llama_swap.activity.row import NO_SPANS, Outcome, Row, Spans, spans
from llama_swap.activity.sample import HEAD_BYTES, TAIL_BYTES, BodySampler, ResponseSample
from llama_swap.activity.stats import Histogram, Stats
from llama_swap.activity.store import Store
from llama_swap.activity.usage import NO_USAGE, Usage, read_usage

__all__ = [
    "HEAD_BYTES",
    "NO_SPANS",
    "NO_USAGE",
    "SORT_COLUMNS",
    "TAIL_BYTES",
    "ActivityQuery",
    "BodySampler",
    "Captures",
    "Exchanged",
    "Histogram",
    "InflightRequest",
    "InflightState",
    "InflightTable",
    "Limits",
    "Outcome",
    "Page",
    "Recorder",
    "ResponseSample",
    "Row",
    "Spans",
    "Stats",
    "Store",
    "Usage",
    "read_usage",
    "spans",
]
