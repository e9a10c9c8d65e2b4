"""What happened to each request: tokens, timings, outcome; the store; what is in flight; captures."""

from llama_swap.activity.captures import Captures, Exchanged
from llama_swap.activity.database import Limits
from llama_swap.activity.inflight import InflightRequest, InflightTable
from llama_swap.activity.query import SORT_COLUMNS, ActivityQuery
from llama_swap.activity.recorder import Recorder
from llama_swap.activity.row import NO_METADATA, NO_SPANS, Outcome, Row, Spans, spans
from llama_swap.activity.sample import HEAD_BYTES, BodySampler, ResponseSample
from llama_swap.activity.store import Store
from llama_swap.activity.usage import Usage

__all__ = [
    "HEAD_BYTES",
    "NO_METADATA",
    "NO_SPANS",
    "SORT_COLUMNS",
    "ActivityQuery",
    "BodySampler",
    "Captures",
    "Exchanged",
    "InflightRequest",
    "InflightTable",
    "Limits",
    "Outcome",
    "Recorder",
    "ResponseSample",
    "Row",
    "Spans",
    "Store",
    "Usage",
    "spans",
]
