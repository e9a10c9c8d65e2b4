"""Load, pin and unpin over HTTP."""

import math

import pytest

from llama_swap.api import residency
from llama_swap.scheduler.events import NO_TERMS, Terms

from .conftest import serving


@pytest.fixture
async def client(supervisor):
    """A client of the routes."""
    async with serving(supervisor, residency.routes()) as made:
        yield made


@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("/m", None, "m"),
        ("/org/m", None, "org/m"),
        ("/big", {}, "org/m"),
        ("", {"model": "m"}, "m"),
        ("/org/m", {"model": "big"}, "org/m"),
        ("", {"model": "big", "keep_alive": None}, "org/m"),
    ],
)
async def test_load(client, supervisor, path, body, model):
    """The model stands in the path or in the body; without a wish nothing changes about how long it stays."""
    answer = await client.post(f"/api/models/load{path}", json=body)
    assert (answer.status, await answer.json()) == (200, {"msg": "ok", "model": model})
    assert supervisor.asked == [("load", model, {"terms": NO_TERMS})]


@pytest.mark.parametrize(
    ("body", "seconds", "told"),
    [
        ({"keep_alive": "2h"}, 7200, 7200),
        ({"keep_alive": -1}, math.inf, -1),
        ({"keep_alive": 0}, 0, 0),
        ({"ttl": 1.5}, 1.5, 1.5),
        ({"ttl": 7, "keep_alive": 8}, 8, 8),
    ],
)
async def test_load_with_a_keep_alive(client, supervisor, body, seconds, told):
    """The wish goes with the load, and the answer says what it came to."""
    answer = await client.post("/api/models/load/m", json=body)
    assert (await answer.json())["keep_alive_seconds"] == told
    assert supervisor.asked == [("load", "m", {"terms": Terms(keep_alive_seconds=seconds)})]


async def test_load_is_capped_and_told(make_supervisor):
    """What the configuration caps is capped here too, whether or not requests are honoured."""
    text = "{keepAlive: {honour: false, max: 60}, models: {m: {cmd: 'srv ${PORT}', ttl: 10}}}"
    supervisor = make_supervisor(text)
    async with serving(supervisor, residency.routes()) as client:
        answer = await client.post("/api/models/load/m", json={"keep_alive": -1})
        assert (await answer.json())["keep_alive_seconds"] == 60
    assert supervisor.asked[0][2]["terms"].keep_alive_seconds == 60


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("", {}, "no model is named"),
        ("/m", {"model": "big"}, 'the path names model "m" and the body "big"'),
        ("", {"model": "mm"}, 'did you mean "m"'),
        ("/m", {"keep_alive": "soon"}, 'keep_alive: "soon" is not a time'),
        ("/m", {"ttl": True}, "ttl: true"),
        ("/m", {"keepalive": 1}, "keepalive"),
    ],
)
async def test_load_refuses_mistakes(client, supervisor, path, body, words):
    """Nothing is loaded by a request that is wrong."""
    answer = await client.post(f"/api/models/load{path}", json=body)
    assert answer.status == (400 if path else 404)
    assert words in (await answer.json())["error"]["message"]
    assert supervisor.asked == []


@pytest.mark.parametrize(("action", "pinned"), [("pin", True), ("unpin", False)])
async def test_pin_and_unpin(client, supervisor, action, pinned):
    """An alias will do; the answer has the ID."""
    answer = await client.post(f"/api/models/{action}/big")
    assert await answer.json() == {"msg": "ok", "model": "org/m", "pinned": pinned}
    assert supervisor.asked == [(action, "org/m", {})]


@pytest.mark.parametrize("action", ["pin", "unpin", "load"])
async def test_pages_of_others_may_not(client, supervisor, action):
    """All of them change something, so the guard refuses them to other sites' pages."""
    answer = await client.post(f"/api/models/{action}/m", headers={"Origin": "http://evil.example"})
    assert answer.status == 403
    assert supervisor.asked == []


@pytest.mark.parametrize("action", ["pin", "unpin"])
async def test_unknown_model(client, supervisor, action):
    """404 with the nearest name."""
    answer = await client.post(f"/api/models/{action}/bgi")
    assert answer.status == 404
    assert supervisor.asked == []
