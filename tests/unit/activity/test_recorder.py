"""From a finished request to a complete row."""

import asyncio
import gzip
import json

import pytest

from llama_swap.activity import Captures, Exchanged, Limits, Recorder, Store
from llama_swap.activity.query import ActivityQuery
from llama_swap.activity.sample import BodySampler

ANSWER = json.dumps({"timings": {"prompt_n": 3, "predicted_n": 4, "prompt_ms": 100.5, "predicted_ms": 200}}).encode()


def _sample(body, encoding="", status=200):
    sampler = BodySampler()
    sampler.add(body)
    return sampler.sample(content_type="application/json", content_encoding=encoding, status=status, complete=True)


@pytest.fixture
async def store():
    """In memory."""
    opened = await Store.open(None, Limits())
    yield opened
    await opened.close()


async def _row(store):
    (row,) = (await store.page(ActivityQuery())).rows
    return row


async def test_an_ordinary_answer_is_complete_at_once(store, make_row):
    """Listeners have tokens and ID before record returns; the duration is at least what the upstream says."""
    recorder, heard = Recorder(store, Captures(0)), []
    stop = recorder.subscribe(heard.append)
    row_id = recorder.record(make_row(duration_ms=5), _sample(ANSWER))
    assert [(row.id, row.tokens.input_tokens, row.duration_ms) for row in heard] == [(row_id, 3, 300)]
    assert (await _row(store)).tokens.output_tokens == 4
    stop()
    recorder.record(make_row())
    assert len(heard) == 1


async def test_the_duration_is_ours_when_it_is_longer(store, make_row):
    """Queue and load are not in the upstream's numbers."""
    Recorder(store, Captures(0)).record(make_row(duration_ms=900), _sample(ANSWER))
    assert (await _row(store)).duration_ms == 900


async def test_a_compressed_answer_is_read_elsewhere(store, make_row):
    """The ID is known at once; listeners hear of the complete row later, on the loop."""
    recorder, heard = Recorder(store, Captures(0)), asyncio.get_running_loop().create_future()
    recorder.subscribe(heard.set_result)
    row_id = recorder.record(make_row(), _sample(gzip.compress(ANSWER), "gzip"))
    assert not heard.done()
    row = await asyncio.wait_for(heard, 5)
    assert (row.id, row.tokens.input_tokens) == (row_id, 3)
    assert (await _row(store)).tokens.input_tokens == 3


async def test_a_failure_has_its_message(store, make_row):
    """The upstream's words, unless the caller knows better."""
    recorder, heard = Recorder(store, Captures(0)), []
    recorder.subscribe(heard.append)
    failed = _sample(b'{"error": {"message": "out of memory"}}', status=500)
    recorder.record(make_row(resp_status_code=500), failed)
    recorder.record(make_row(resp_status_code=500, error_msg="ours"), failed)
    recorder.record(make_row(resp_status_code=503, error_msg="queue is full"))
    assert [row.error_msg for row in heard] == ["out of memory", "ours", "queue is full"]
    assert [row.tokens.input_tokens for row in heard] == [0, 0, 0]


async def test_captures(store, make_row):
    """With a buffer, the exchange is there as soon as the row can be seen; without one it is not kept."""
    exchanged = Exchanged("/v1/x", (), b"request", 200, (), ANSWER)
    captures = Captures(1_000_000)
    row_id = Recorder(store, captures).record(make_row(), _sample(ANSWER), exchanged)
    assert (await _row(store)).id == row_id
    assert row_id in captures
    off = Captures(0)
    assert Recorder(store, off).record(make_row(), _sample(ANSWER), exchanged) not in off
