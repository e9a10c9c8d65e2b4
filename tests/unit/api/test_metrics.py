"""The page for Prometheus over HTTP."""

import pytest

from llama_swap.activity import Outcome, Row, Spans, Usage
from llama_swap.api import metrics as api
from llama_swap.metrics import Metrics
from llama_swap.scheduler import Scheduler
from llama_swap.scheduler.events import MemoryMeasured, RequestArrived
from llama_swap.scheduler.memory import HOST, PoolReading
from llama_swap.scheduler.spec import ModelSpec, SchedulerSpec


@pytest.fixture
async def client(mount):
    """A service with one model that a request waits for since 3 seconds."""
    scheduler = Scheduler(SchedulerSpec({"m": ModelSpec("m", "v1")}))
    scheduler.handle(RequestArrived(1, "m"), now=0.0)

    async def wait_measured():
        scheduler.handle(MemoryMeasured(2.5, (PoolReading(HOST, "RAM", None, 64, 48),)), now=2.5)

    return await mount(api.routes(Metrics(["m"]), lambda: scheduler.snapshot(now=3.0), wait_measured))


async def test_the_page(client):
    """Text format 0.0.4, with waits as they are at this moment, also where the machine is not looked at."""
    async with client.get("/metrics") as response:
        text = await response.text()
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "\nllamaswap_oldest_waiter_age_seconds 3.0\n" in text
    assert 'llamaswap_instance_state{model="m",state="starting"} 1.0' in text
    assert "llamaswap_memory_total_bytes" not in text
    assert 'llamaswap_pool_free_bytes{pool="host"} 48.0' in text, "as it is now"


def row(content_type):
    """An answer of 30 tokens that waited 3 s for its model and 0.5 s for its first byte."""
    return Row(
        timestamp=0.0,
        model="m",
        req_path="/v1/chat/completions",
        resp_status_code=200,
        duration_ms=5000,
        outcome=Outcome.OK,
        resp_content_type=content_type,
        tokens=Usage(input_tokens=10, output_tokens=30, cache_tokens=-1, prompt_per_second=-1, tokens_per_second=60.0),
        spans=Spans(queue_ms=1000.0, load_ms=2000.0, first_token_ms=500.0, generation_ms=1500.0),
    )


def test_a_row_is_counted():
    """Tokens by kind, the speed that is known, and the first token of a stream from arrival."""
    metrics = Metrics(["m"])
    api.count_answer(metrics, row("text/event-stream; charset=utf-8"))
    text = metrics.render().decode()
    assert 'llamaswap_tokens_total{kind="generated",model="m"} 30.0' in text
    assert 'llamaswap_tokens_total{kind="prompt",model="m"} 10.0' in text
    assert 'kind="cached"' not in text
    assert 'llamaswap_generated_tokens_per_second_sum{model="m"} 60.0' in text
    assert 'llamaswap_time_to_first_token_seconds_sum{model="m"} 3.5' in text


def test_a_plain_answer_has_no_first_token():
    """Its first byte comes with its last, and would make the histogram useless."""
    metrics = Metrics(["m"])
    api.count_answer(metrics, row("application/json"))
    assert "llamaswap_time_to_first_token_seconds_sum" not in metrics.render().decode()
