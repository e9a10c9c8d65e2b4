"""From a request on its way to its row, for every way in which it can end."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from aiohttp.test_utils import make_mocked_request

from llama_swap.activity import ActivityQuery, Captures, InflightTable, Limits, Outcome, Recorder, Spans, Store
from llama_swap.api.metering import Metering
from llama_swap.api.visit import Visit
from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.exchange import Outcome as ExchangeOutcome

PATH = "/v1/chat/completions"
ANSWER = json.dumps({"timings": {"prompt_n": 3, "predicted_n": 4}}).encode()


@pytest.fixture
async def store():
    """In memory."""
    opened = await Store.open(None, Limits())
    yield opened
    await opened.close()


@pytest.fixture
async def metering(store):
    """Everything but captures."""
    recorder = Recorder(store, Captures(0))
    return Metering(recorder, InflightTable(), Captures(0), frozenset({PATH}), frozenset({"/props"}))


def _request(method="POST"):
    return make_mocked_request(method, PATH, headers={"X-Note": "v"})


def _visit(*, leased=True):
    visit = Visit(None)
    visit.requested, visit.model = "alias", "m"
    if leased:
        instance = SimpleNamespace(why_cut=None)
        visit.take(SimpleNamespace(queue_seconds=0.5, load_seconds=2, granted_at=100.0, instance=instance))
    return visit


def _answer(visit, meter, status=200, outcome=ExchangeOutcome.OK):
    """What the data plane does with an answer."""
    exchange = visit.exchange
    exchange.status, exchange.outcome, exchange.finished_at = status, outcome, 103.0
    exchange.headers = [(b"Content-Type", b"application/json")]
    meter.sampler.add(ANSWER)
    meter.sampler.first_at = 101.0


async def _row(store):
    (row,) = (await store.page(ActivityQuery())).rows
    return row


async def test_an_answered_request(store, metering):
    """The row names model, path, times and tokens; while it lasts the request is in flight."""
    visit, frames = _visit(), []
    metering.table.subscribe(frames.append)
    with visit:
        meter = metering.watch(_request(), visit, path=PATH, body=b"{}", metadata={"selector": "s"})
        metering.table.serve(meter.entry)
        _answer(visit, meter)
        visit.exchange.on_head()
        assert len(metering.table) == 1
    assert len(metering.table) == 0
    assert [frame["operation"] for frame in frames] == ["upsert", "upsert", "upsert", "remove"]
    row = await _row(store)
    assert (row.model, row.requested, row.req_path, row.resp_status_code) == ("m", "alias", PATH, 200)
    assert (row.tokens.input_tokens, row.tokens.output_tokens, row.outcome) == (3, 4, Outcome.OK)
    assert (row.spans, row.resp_content_type) == (Spans(500, 2000, 1000, 2000), "application/json")
    assert (row.metadata, row.error_msg) == ({"selector": "s"}, "")
    assert len(row.request_id) == 32


async def test_a_refused_request(store, metering):
    """Our own error has its status and words, and no upstream's times."""
    visit = _visit(leased=False)
    metering.watch(_request(), visit, path=PATH)
    with pytest.raises(RequestError), visit:
        raise RequestError(Reason.QUEUE_FULL, "too many wait")
    row = await _row(store)
    assert (row.outcome, row.resp_status_code, row.error_msg) == (Outcome.REFUSED, 429, "too many wait")
    assert row.spans == Spans()


async def test_an_upstream_that_failed(store, metering):
    """The data plane says that it was the upstream's fault."""
    visit = _visit()
    visit.exchange.outcome = ExchangeOutcome.UPSTREAM_FAILED
    metering.watch(_request(), visit, path=PATH)
    with pytest.raises(RequestError), visit:
        raise RequestError(Reason.UPSTREAM_FAILED, "it closed")
    row = await _row(store)
    assert (row.outcome, row.resp_status_code, row.error_msg) == (Outcome.UPSTREAM_FAILED, 502, "it closed")


@pytest.mark.parametrize(
    ("ended", "status", "message"),
    [
        (ExchangeOutcome.UPSTREAM_DIED, 200, "in the middle"),
        (ExchangeOutcome.CLIENT_GONE, 499, "the client left"),
    ],
)
async def test_an_answer_that_was_cut(store, metering, ended, status, message):
    """A death in the middle and a client that left are told apart, and neither is a success."""
    visit = _visit()
    with visit:
        meter = metering.watch(_request(), visit, path=PATH)
        _answer(visit, meter, outcome=ended)
        visit.exchange.detail = "in the middle"
    row = await _row(store)
    assert (row.outcome.value, row.resp_status_code, row.error_msg) == (ended.value, status, message)


@pytest.mark.parametrize(
    ("ours", "gone", "outcome"),
    [(True, False, "cancelled"), (False, True, "client_gone"), (False, False, "cancelled"), (True, True, "cancelled")],
)
async def test_a_handler_that_was_cancelled(store, metering, ours, gone, outcome):
    """By the API, which answers with an error, by a client that left, or by the end of the service."""
    request, entered = _request(), asyncio.Event()
    request.transport.is_closing.return_value = gone

    async def handle():
        visit = _visit(leased=False)
        with visit:
            metering.watch(request, visit, path=PATH)
            entered.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(handle())
        await entered.wait()
        request.task.cancel.side_effect = task.cancel
        if ours:
            (shown,) = metering.table.snapshot()["requests"]
            assert metering.table.cancel(shown["id"])
        else:
            task.cancel()
    row = await _row(store)
    assert (row.outcome.value, row.resp_status_code) == (outcome, 503 if ours else 499)


@pytest.mark.parametrize(
    ("reason", "exchanged", "ended"),
    [
        (Reason.CANCELLED, None, ("cancelled", 503)),
        (Reason.START_FAILED, None, ("refused", 500)),
        (Reason.UPSTREAM_FAILED, ExchangeOutcome.UPSTREAM_FAILED, ("upstream_failed", 502)),
    ],
)
async def test_an_error_in_a_stream_that_had_begun(store, metering, reason, exchanged, ended):
    """The handler returns as if nothing had happened; the row tells what the client was told."""
    visit = _visit(leased=False)
    with visit:
        metering.watch(_request(), visit, path=PATH)
        visit.refusal, visit.exchange.outcome = RequestError(reason, "told"), exchanged
    row = await _row(store)
    assert (row.outcome.value, row.resp_status_code) == ended
    assert row.error_msg == ("cancelled" if reason is Reason.CANCELLED else "told")


@pytest.mark.parametrize(("detail", "ended"), [("odd", "ok"), ("", "upstream_failed")])
async def test_a_stream_that_ended_in_our_error_event_is_no_success(store, metering, detail, ended):
    """Whoever reads the activity sees that it failed and why, also where the status says nothing."""
    visit = _visit()
    with visit:
        meter = metering.watch(_request(), visit, path=PATH)
        _answer(visit, meter, outcome=ExchangeOutcome(ended))
        visit.exchange.detail = detail
    row = await _row(store)
    assert (row.outcome, row.error_msg) == (
        Outcome.UPSTREAM_FAILED,
        detail or "the answer does not fit into the stream that had begun",
    )


async def test_a_bug_leaves_a_row_and_no_request_in_flight(store, metering):
    """Whatever happens, the table is left."""
    visit = _visit()
    metering.watch(_request(), visit, path=PATH)
    with pytest.raises(ZeroDivisionError), visit:
        1 / 0  # noqa: B018 - the bug
    assert len(metering.table) == 0
    assert (await _row(store)).resp_status_code == 500


async def test_reading_requests_leave_no_row(store, metering):
    """A GET of a model is in flight, but it is no work of a model."""
    visit = _visit()
    with visit:
        metering.watch(_request("GET"), visit, path="/props")
        assert len(metering.table) == 1
    assert (await store.page(ActivityQuery())).total == 0


async def test_what_is_watched(metering):
    """Only the routes of models."""
    assert metering.covers("POST", PATH)
    assert metering.covers("GET", "/props")
    assert not metering.covers("GET", PATH)
    assert not metering.covers("POST", "/props")
    assert not metering.covers("DELETE", PATH)


async def test_captures(store):
    """With a buffer the request as it went out and the whole answer are kept."""
    captures = Captures(1_000_000)
    metering = Metering(Recorder(store, captures), InflightTable(), captures, frozenset({PATH}), frozenset())
    visit = _visit()
    with visit:
        meter = metering.watch(_request(), visit, path=PATH, body=b'{"added":1}')
        _answer(visit, meter)
    row = await _row(store)
    held = captures.get(row.id)
    assert (held["req_body"], held["req_headers"]) == ("eyJhZGRlZCI6MX0=", {"X-Note": "v"})
    assert held["resp_body"] is not None
