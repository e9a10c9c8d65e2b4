"""What is noted of a request to a model while it passes, and the row that it becomes."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from random import getrandbits

import msgspec
from aiohttp import web

from llama_swap.activity import (
    HEAD_BYTES,
    NO_METADATA,
    NO_SPANS,
    BodySampler,
    Captures,
    Exchanged,
    InflightRequest,
    InflightTable,
    Outcome,
    Recorder,
    ResponseSample,
    Row,
    spans,
)
from llama_swap.api.errors import TABLE
from llama_swap.api.visit import Visit
from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.exchange import BodySource, Exchange
from llama_swap.proxy.exchange import Outcome as ExchangeOutcome

CLIENT_GONE_STATUS = 499
"""nginx's number for a client that left; llama-swap stores such requests as 200."""
_CAPTURED_BYTES = 4 * 1024 * 1024


class _Ending(msgspec.Struct, frozen=True, gc=False):
    """How a request ended: the status that its client got, and what went wrong."""

    outcome: Outcome
    status: int
    message: str


# Bound once: until Python 3.12 to look up a member takes as long as five other steps.
_OK, _ANSWERED = Outcome.OK, ExchangeOutcome.OK
_BUG = _Ending(Outcome.REFUSED, 500, "internal error")


@dataclass(frozen=True, slots=True)
class Metering:
    """Everything that hears of requests to models.

    Attributes:
        post_paths, get_paths: which requests are watched; rows are made of POSTs only (llama-swap v250).
    """

    recorder: Recorder
    table: InflightTable
    captures: Captures
    post_paths: frozenset[str]
    get_paths: frozenset[str]

    def covers(self, method: str, path: str) -> bool:
        """Whether a request is one to watch."""
        return path in (self.post_paths if method == "POST" else self.get_paths if method == "GET" else ())

    def watch(
        self,
        request: web.BaseRequest,
        visit: Visit,
        path: str,
        body: bytes | BodySource | None = None,
        metadata: Mapping[str, str] = NO_METADATA,
    ) -> "Meter":
        """Keep a request in the in-flight table until the block of its visit ends, and make a row of it then.

        Args:
            request: as it came.
            visit: names the model already; its lease and exchange are read at the end.
            path: the route's; below ``/upstream/MODEL`` the rest. Without query.
            body: as it goes to the upstream.
            metadata: for the row, such as ``selector``.
        """
        exchange, client = visit.exchange, visit.head.client
        entry = InflightRequest(
            visit.model, request.method, path, request.task.cancel, request.raw_headers, client, metadata, exchange
        )
        sampler = BodySampler(_CAPTURED_BYTES if self.captures.enabled else HEAD_BYTES)
        visit.entry = entry
        visit.meter = meter = Meter(self, request, visit, body, entry, sampler)
        exchange.on_head = partial(self.table.answered, entry)
        exchange.listener = sampler
        self.table.enter(entry)
        return meter


class Meter(msgspec.Struct, frozen=True, eq=False):
    """One metered request.

    Attributes:
        body: as it goes to the upstream.
        entry: its line in the in-flight table.
        sampler: is given every piece of the answer's body.
    """

    metering: Metering
    request: web.BaseRequest
    visit: Visit
    body: bytes | BodySource | None
    entry: InflightRequest
    sampler: BodySampler

    def end(self, error: BaseException | None) -> None:
        """The request is over; ``error`` is what its handler raised."""
        metering, visit, entry = self.metering, self.visit, self.entry
        exchange = visit.exchange
        metering.table.leave(entry)
        # Each of them refers to another: all would stay until the collector comes.
        exchange.on_head = visit.meter = None
        if entry.method != "POST":
            return
        ending = _returned(visit) if error is None else _raised(self, error)
        content_type = exchange.header(b"content-type").decode("latin-1")
        row, sample = _row(self, ending, content_type), _sample(self, ending, content_type)
        exchanged = _exchanged(self, ending) if metering.captures.enabled else None
        metering.recorder.record(row, sample, exchanged)


def _raised(meter: Meter, error: BaseException) -> _Ending:
    if isinstance(error, RequestError):
        return _refused(meter.visit, error)
    return _cut_off(meter) if isinstance(error, asyncio.CancelledError) else _BUG


def _returned(visit: Visit) -> _Ending:
    """Of a request whose handler returned."""
    exchange = visit.exchange
    if visit.refusal is not None:
        return _refused(visit, visit.refusal)
    if exchange.outcome is not None and exchange.outcome is not _ANSWERED:
        outcome = Outcome(exchange.outcome)
    elif not exchange.detail:
        return _Ending(_OK, exchange.status, "")
    else:
        outcome = Outcome.UPSTREAM_FAILED  # what came was told to the client as an error
    status = CLIENT_GONE_STATUS if outcome is Outcome.CLIENT_GONE else exchange.status
    return _Ending(outcome, status, _message(outcome) or _failure(exchange, outcome))


def _refused(visit: Visit, error: RequestError) -> _Ending:
    """Of a request that got an error of ours, with its status or in a stream that had begun."""
    outcome = Outcome(visit.exchange.outcome or Outcome.REFUSED)
    if error.reason is Reason.CANCELLED:
        outcome = Outcome.CANCELLED
    return _Ending(outcome, TABLE[error.reason].status, _message(outcome) or error.message)


def _cut_off(meter: Meter) -> _Ending:
    """Of a request whose handler was cancelled: by its client, or by us while the client was still there."""
    visit, transport = meter.visit, meter.request.transport
    gone = transport is None or transport.is_closing()
    if gone and not meter.entry.cancelled:
        return _Ending(Outcome.CLIENT_GONE, CLIENT_GONE_STATUS, _message(Outcome.CLIENT_GONE))
    # Before any answer the client still gets an error of ours.
    unanswered = TABLE[Reason.CANCELLED].status if meter.entry.cancelled else CLIENT_GONE_STATUS
    return _Ending(Outcome.CANCELLED, visit.exchange.status or unanswered, _message(Outcome.CANCELLED))


def _message(outcome: Outcome) -> str:
    match outcome:
        case Outcome.CLIENT_GONE:
            return "the client left"
        case Outcome.CANCELLED:
            return "cancelled"
        case _:
            return ""


def _failure(exchange: Exchange, outcome: Outcome) -> str:
    """What the upstream did wrong; "" where its own answer tells."""
    if outcome is Outcome.UPSTREAM_FAILED and exchange.status == HTTPStatus.OK:
        return exchange.detail or "the answer does not fit into the stream that had begun"
    return exchange.detail


def _row(meter: Meter, ending: _Ending, content_type: str) -> Row:
    visit, entry = meter.visit, meter.entry
    lease, where_time_went = visit.lease, NO_SPANS
    if lease is not None:
        where_time_went = spans(
            lease.queue_seconds,
            lease.load_seconds,
            lease.granted_at,
            meter.sampler.first_at,
            visit.exchange.finished_at,
        )
    return Row(
        timestamp=time.time(),
        model=entry.model,
        req_path=entry.req_path,
        resp_status_code=ending.status,
        resp_content_type=content_type,
        duration_ms=int((time.monotonic() - visit.started_at) * 1000),
        outcome=ending.outcome,
        error_msg=ending.message,
        metadata=entry.metadata,
        spans=where_time_went,
        requested=visit.requested,
        request_id=getrandbits(128).to_bytes(16).hex(),
    )


def _sample(meter: Meter, ending: _Ending, content_type: str) -> ResponseSample | None:
    exchange = meter.visit.exchange
    if not exchange.status:
        return None
    return meter.sampler.sample(
        content_type=content_type,
        content_encoding=exchange.header(b"content-encoding").decode("latin-1"),
        status=exchange.status,
        complete=ending.outcome is _OK,
    )


def _exchanged(meter: Meter, ending: _Ending) -> Exchanged:
    """For a capture; a body that streams was not held."""
    head, body = meter.sampler.head(), meter.body
    return Exchanged(
        req_path=meter.entry.req_path,
        req_headers=meter.request.raw_headers,
        req_body=body if isinstance(body, bytes) else b"" if body is None else None,
        status=ending.status,
        resp_headers=meter.visit.exchange.headers,
        resp_body=head,
        resp_cut=len(head) < meter.sampler.total_bytes,
    )
