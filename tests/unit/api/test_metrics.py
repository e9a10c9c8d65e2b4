"""The page for Prometheus over HTTP."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from llama_swap.api import metrics as api
from llama_swap.metrics import Metrics
from llama_swap.scheduler import Scheduler
from llama_swap.scheduler.events import RequestArrived
from llama_swap.scheduler.spec import ModelSpec, SchedulerSpec


@pytest.fixture
async def client():
    """A service with one model that a request waits for since 3 seconds."""
    scheduler = Scheduler(SchedulerSpec({"m": ModelSpec("m", "v1")}))
    scheduler.handle(RequestArrived(1, "m"), now=0.0)
    app = web.Application()
    app.add_routes(api.routes(Metrics(["m"]), lambda: scheduler.snapshot(now=3.0)))
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_the_page(client):
    """Text format 0.0.4, with waits as they are at this moment, also where the machine is not looked at."""
    async with client.get("/metrics") as response:
        text = await response.text()
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "\nllamaswap_oldest_waiter_age_seconds 3.0\n" in text
    assert 'llamaswap_instance_state{model="m",state="starting"} 1.0' in text
    assert "llamaswap_memory_total_bytes" not in text
