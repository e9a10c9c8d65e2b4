"""Who was let in is not asked again on the same connection, as long as nothing has changed."""

import asyncio
import importlib
from collections import Counter
from types import SimpleNamespace

import pytest
from aiohttp import web

from llama_swap.api.directory import Directory
from llama_swap.api.visit import visit_of
from llama_swap.scheduler.events import Terms

from .conftest import behind_guard, make_site

KEYS = """
apiKeys: [sk-plain, {key: sk-agents, name: agents, priority: -1}]
models: {m: {cmd: "srv ${PORT}"}}
"""
OTHER_KEYS = """
apiKeys: [{key: sk-agents, name: others, priority: 5}, sk-new]
models: {m: {cmd: "srv ${PORT}"}}
"""
PLAIN, AGENTS, NEW = ({"Authorization": f"Bearer {key}"} for key in ("sk-plain", "sk-agents", "sk-new"))


@pytest.fixture
def site(make_supervisor):
    """With two keys."""
    return make_site(make_supervisor(KEYS))


def put_in_force(site, config):
    """A reload."""
    site.supervisor.config, site.directory = config, Directory(config)


@pytest.fixture
def looks(monkeypatch):
    """How often a head was looked at."""
    counted = Counter()
    # The package has a function of that name.
    guard_module = importlib.import_module("llama_swap.api.guard")
    admit = guard_module._admit

    def counting(request, *others):
        counted[request.path] += 1
        return admit(request, *others)

    monkeypatch.setattr(guard_module, "_admit", counting)
    return counted


@pytest.fixture
async def ask(site):
    """Sends a request on the one connection; gives the status, whose it is, and the connection."""

    async def answer(request):
        await request.read()
        visit = visit_of(request)
        head = visit.head
        said = {"path": head.path, "method": head.method, "agent": head.words.user_agent, "caller": visit.terms.caller}
        visit.terms = Terms(caller="changed")  # what one request asks for besides does not stay with its connection
        return web.json_response({**said, "peer": request.transport.get_extra_info("peername")[1]})

    async with behind_guard(site, [web.route("*", "/{path:.*}", answer)]) as client:

        async def ask(headers=PLAIN, *, method="POST", path="/v1/x", body=b"{}"):
            async with client.request(method, path, data=body, headers=headers) as response:
                said = await response.json()
                return response.status, said.get("caller"), said

        yield ask


async def test_the_same_head_is_looked_at_once(ask, looks):
    """The length of the body makes no difference."""
    answers = [await ask(body=b"x" * length) for length in (2, 200, 2)]
    assert [answer[:2] for answer in answers] == [(200, "apiKeys[0]")] * 3
    assert len({said["peer"] for _, _, said in answers}) == 1
    assert looks["/v1/x"] == 1
    await ask(path="/v1/y")
    assert looks == {"/v1/x": 1, "/v1/y": 1}


async def test_another_key_on_the_same_connection(ask):
    """It is looked at, whoever was let in before; a refused one is not let in because of them, and hurts nobody."""
    assert (await ask(PLAIN))[0] == 200
    for _ in range(2):
        assert (await ask({"Authorization": "Bearer sk-wrong"}))[0] == 401
    assert (await ask({}))[0] == 401
    assert (await ask(PLAIN))[:2] == (200, "apiKeys[0]")
    assert (await ask(AGENTS))[:2] == (200, "agents")
    assert (await ask({"x-api-key": "sk-agents"}))[:2] == (200, "agents")
    assert (await ask({"x-api-key": "sk-agent"}))[0] == 401


async def test_other_keys_after_a_reload(ask, site, make_supervisor):
    """Whoever was let in by the configuration before is looked at again, and so is who was not."""
    first = await ask(AGENTS)
    assert first[:2] == (200, "agents")
    config = make_supervisor(OTHER_KEYS).config
    put_in_force(site, config)
    second = await ask(AGENTS)
    assert second[:2] == (200, "others")
    assert first[2]["peer"] == second[2]["peer"]
    put_in_force(site, make_supervisor(KEYS).config)
    assert (await ask(PLAIN))[0] == 200
    put_in_force(site, config)
    assert (await ask(PLAIN))[0] == 401
    assert (await ask(NEW))[:2] == (200, "apiKeys[1]")
    put_in_force(site, make_supervisor(KEYS).config)
    assert (await ask(NEW))[0] == 401


async def test_what_differs_is_noted_anew(ask):
    """Path, method and whatever stands in a header are those of this very request."""
    for method, path, agent in (("POST", "/a", "x"), ("GET", "/a", "x"), ("GET", "/b", "x"), ("GET", "/b", "y")):
        _, _, said = await ask({**PLAIN, "User-Agent": agent}, method=method, path=path, body=None)
        assert (said["method"], said["path"], said["agent"]) == (method, path, agent)


async def test_a_page_of_another_site_that_was_let_in_to_read(ask):
    """What it may not do it still may not do on the same connection."""
    headers = {"Authorization": "Basic OnNrLXBsYWlu", "Origin": "http://evil.example"}
    assert (await ask(headers, method="GET", path="/v1/models", body=None))[0] == 200
    assert (await ask(headers))[0] == 403
    assert (await ask(headers, method="GET", path="/v1/models", body=None))[0] == 200
    assert (await ask(headers, method="GET", path="/unload", body=None))[0] == 403


async def test_a_request_that_an_operator_cancels(site):
    """It is answered, and its connection goes on as if nothing had been cancelled."""
    tasks = []

    async def cancelled(request):
        visit_of(request).entry = SimpleNamespace(cancelled=True)
        tasks.extend((request.task, asyncio.current_task()))
        asyncio.get_running_loop().call_soon(request.task.cancel)
        await asyncio.Event().wait()

    async def served(request):
        return web.json_response([request.task is tasks[0], *(task.cancelling() for task in tasks)])

    async with behind_guard(site, [web.get("/cancelled", cancelled), web.get("/served", served)]) as client:
        async with client.get("/cancelled", headers=PLAIN) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (503, "request_cancelled")
        async with client.get("/served", headers=PLAIN) as response:
            assert await response.json() == [True, 0, 0]
