"""One row of the activity: what a request asked for, how it went and how long each part of it took.

msgspec's structs are made in C: a frozen dataclass of this size takes five times as long, and each request makes some.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from llama_swap.activity.usage import NO_USAGE, Usage

UNKNOWN_MS = -1.0
NO_METADATA: Mapping[str, str] = MappingProxyType({})


class Outcome(StrEnum):
    """How a request ended.

    ``refused`` is our own error answer before any upstream had the request; ``cancelled`` means that we ended it
    while the client was still there.
    """

    OK = "ok"
    CLIENT_GONE = "client_gone"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_DIED = "upstream_died"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class Spans(msgspec.Struct, frozen=True, gc=False):
    """Where the time of a request went, in milliseconds; -1 for a part that it never came to.

    Attributes:
        queue_ms: waiting for other models or requests to leave.
        load_ms: waiting for the model's own start.
        first_token_ms: from the grant of an instance to the first byte of the answer's body.
        generation_ms: from there to the last byte.
    """

    queue_ms: float = UNKNOWN_MS
    load_ms: float = UNKNOWN_MS
    first_token_ms: float = UNKNOWN_MS
    generation_ms: float = UNKNOWN_MS


NO_SPANS = Spans()


def spans(
    queue_seconds: float,
    load_seconds: float,
    granted_at: float,
    first_byte_at: float | None,
    finished_at: float | None,
) -> Spans:
    """The parts of a request that was granted an instance, from moments in monotonic seconds."""
    if first_byte_at is None:
        return Spans(queue_seconds * 1000, load_seconds * 1000)
    generation_ms = UNKNOWN_MS if finished_at is None else (finished_at - first_byte_at) * 1000
    return Spans(queue_seconds * 1000, load_seconds * 1000, (first_byte_at - granted_at) * 1000, generation_ms)


class Row(msgspec.Struct, gc=False):
    """One request to a model; the recorder completes it, and from then on it stays as it is.

    Attributes:
        id: given by the store; 0 before.
        timestamp: when the request ended, in seconds since 1970.
        model: the configured ID; ``requested`` is the name the client used.
        req_path: without query, as the upstream's own route (below ``/upstream/MODEL``).
        resp_status_code: of the answer that the client got.
        duration_ms: from arrival to the end, queue and load included; at least what the upstream says it worked.
        error_msg: "" when nothing failed.
        metadata: for example ``selector`` and ``fifo_priority``.
        request_id: links the row to the log; "" when there is none.
    """

    timestamp: float
    model: str
    req_path: str
    resp_status_code: int
    duration_ms: int
    outcome: Outcome
    id: int = 0
    resp_content_type: str = ""
    tokens: Usage = NO_USAGE
    error_msg: str = ""
    metadata: Mapping[str, str] = NO_METADATA
    spans: Spans = NO_SPANS
    requested: str = ""
    request_id: str = ""

    def to_json(self, *, has_capture: bool = False) -> dict[str, Any]:
        """llama-swap's fields under its names, ours behind them; ``error_msg`` and ``metadata`` only if there are any.

        Args:
            has_capture: whether the request's bytes can still be had, which is known only when it is asked.
        """
        row: dict[str, Any] = {
            "id": self.id,
            "timestamp": rfc3339(self.timestamp),
            "model": self.model,
            "req_path": self.req_path,
            "resp_content_type": self.resp_content_type,
            "resp_status_code": self.resp_status_code,
            "tokens": _tokens_json(self.tokens),
            "duration_ms": self.duration_ms,
            "has_capture": has_capture,
        }
        if self.error_msg:
            row["error_msg"] = self.error_msg
        if self.metadata:
            row["metadata"] = dict(self.metadata)
        row |= {
            "queue_ms": round(self.spans.queue_ms, 3),
            "load_ms": round(self.spans.load_ms, 3),
            "first_token_ms": round(self.spans.first_token_ms, 3),
            "generation_ms": round(self.spans.generation_ms, 3),
            "outcome": self.outcome.value,
            "requested_model": self.requested,
            "request_id": self.request_id,
        }
        return row


def _tokens_json(usage: Usage) -> dict[str, Any]:
    """llama-swap's ``tokens``; spelled out, for ``asdict`` takes five times as long and a page may have 999 rows."""
    return {
        "cache_tokens": usage.cache_tokens,
        "draft_tokens": usage.draft_tokens,
        "draft_acc_tokens": usage.draft_acc_tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "prompt_per_second": usage.prompt_per_second,
        "tokens_per_second": usage.tokens_per_second,
    }


def rfc3339(timestamp: float) -> str:
    """Seconds since 1970 as text, in UTC and to the millisecond."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
