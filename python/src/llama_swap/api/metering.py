"""What is noted of a request to a model while it passes, and the row that it becomes."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from random import getrandbits
from types import TracebackType

from aiohttp import web

from llama_swap.activity import (
    HEAD_BYTES,
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
    Spans,
    spans,
)
from llama_swap.api.errors import TABLE
from llama_swap.api.visit import Visit
from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.exchange import Exchange

CLIENT_GONE_STATUS = 499
"""nginx's number for a client that left; llama-swap stores such requests as 200."""
_CAPTURED_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a request ended: the status that its client got, and what went wrong."""

    outcome: Outcome
    status: int
    message: str


@dataclass(slots=True, eq=False)
class Meter:
    """One metered request.

    Attributes:
        path: without query, as in llama-swap's rows.
        body: as it goes to the upstream; None where it is not held (forms, streamed bodies).
        entry: its line in the in-flight table.
        sampler: is to be given every piece of the answer's body.
        ending: a bug of ours, until something better is known.
    """

    request: web.BaseRequest
    visit: Visit
    path: str
    body: bytes | None
    entry: InflightRequest
    sampler: BodySampler
    ending: _Ending = _Ending(Outcome.REFUSED, 500, "internal error")


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
        *,
        path: str,
        body: bytes | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> "Watch":
        """Keep a request in the in-flight table while this lasts, and make a row of it at the end.

        Args:
            request: as it came.
            visit: names the model already; its lease and exchange are read at the end.
            path: the route's; below ``/upstream/MODEL`` the rest. Without query.
            body: as it goes to the upstream; None where it is not held.
            metadata: for the row, such as ``selector``.
        """
        return Watch(self, self._enter(request, visit, path, body, metadata or {}))

    def leave(self, meter: Meter) -> None:
        """The request is over, and ``meter.ending`` says how."""
        self.table.leave(meter.entry)
        if meter.request.method == "POST":
            self.recorder.record(_row(meter), _sample(meter), self._exchanged(meter))

    def serve(self, meter: Meter) -> None:
        """The request has its instance, whose answer fills ``visit.exchange``."""
        self.table.serve(meter.entry)

    def answered(self, meter: Meter) -> None:
        """``visit.exchange`` has the answer's headers."""
        self.table.answered(meter.entry)

    def _enter(
        self, request: web.BaseRequest, visit: Visit, path: str, body: bytes | None, metadata: Mapping[str, str]
    ) -> Meter:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler runs in a task
        entry = self.table.enter(
            model=visit.model,
            method=request.method,
            req_path=path,
            cancel=task.cancel,
            req_headers=request.raw_headers,
            remote_ip=request.remote or "",
            metadata=metadata,
            answer=visit.exchange,
        )
        head_bytes = _CAPTURED_BYTES if self.captures.enabled else HEAD_BYTES
        return Meter(request, visit, path, body, entry, BodySampler(head_bytes))

    def _exchanged(self, meter: Meter) -> Exchanged | None:
        if not self.captures.enabled:
            return None
        head = meter.sampler.head()
        return Exchanged(
            req_path=meter.path,
            req_headers=meter.request.raw_headers,
            req_body=meter.body,
            status=meter.ending.status,
            resp_headers=meter.visit.exchange.headers,
            resp_body=head,
            resp_cut=len(head) < meter.sampler.total_bytes,
        )


class Watch:
    """Lasts as long as a request; a context manager that needs no generator, for each request has one."""

    __slots__ = ("_meter", "_metering")

    def __init__(self, metering: Metering, meter: Meter) -> None:
        self._metering = metering
        self._meter = meter

    def __enter__(self) -> Meter:
        return self._meter

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        meter = self._meter
        if error is None:
            meter.ending = _ending(meter.visit)
        elif isinstance(error, RequestError):
            meter.ending = _refused(meter.visit, error)
        elif isinstance(error, asyncio.CancelledError):
            meter.ending = _cut_off(meter)
        self._metering.leave(meter)


def _ending(visit: Visit) -> _Ending:
    """Of a request whose handler returned."""
    exchange = visit.exchange
    if visit.refusal is not None:
        return _refused(visit, visit.refusal)
    outcome = Outcome(exchange.outcome or Outcome.OK)
    if outcome is Outcome.OK and exchange.detail:
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


def _row(meter: Meter) -> Row:
    visit, ending = meter.visit, meter.ending
    return Row(
        timestamp=time.time(),
        model=visit.model,
        req_path=meter.path,
        resp_status_code=ending.status,
        resp_content_type=visit.exchange.header(b"content-type").decode("latin-1"),
        duration_ms=int((time.monotonic() - visit.started_at) * 1000),
        outcome=ending.outcome,
        error_msg=ending.message,
        metadata=meter.entry.metadata,
        spans=_spans(meter),
        requested=visit.requested,
        request_id=f"{getrandbits(128):032x}",
    )


def _spans(meter: Meter) -> Spans:
    lease = meter.visit.lease
    if lease is None:
        return NO_SPANS
    return spans(
        queue_seconds=lease.queue_seconds,
        load_seconds=lease.load_seconds,
        granted_at=lease.granted_at,
        first_byte_at=meter.sampler.first_at,
        finished_at=meter.visit.exchange.finished_at,
    )


def _sample(meter: Meter) -> ResponseSample | None:
    exchange = meter.visit.exchange
    if not exchange.status:
        return None
    return meter.sampler.sample(
        content_type=exchange.header(b"content-type").decode("latin-1"),
        content_encoding=exchange.header(b"content-encoding").decode("latin-1"),
        status=exchange.status,
        complete=meter.ending.outcome is Outcome.OK,
    )
