"""What upstreams are asked about their context length, when, and what is made of their answers."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from llama_swap.api import context
from llama_swap.api.context import ContextLengths
from llama_swap.config import PortBook, load_config
from llama_swap.supervisor import Instance


class Upstream:
    """Answers /props as told, and counts."""

    def __init__(self):
        """Nothing asked yet."""
        self.asked = 0
        self.status = 200
        self.body = b'{"default_generation_settings": {"n_ctx": 4096}}'
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def props(self, _request):
        """The answer."""
        self.asked += 1
        await self.may_answer.wait()
        return web.Response(status=self.status, body=self.body)


@pytest.fixture
async def upstream(tmp_path):
    """A server on this machine."""
    it = Upstream()
    it.folder = tmp_path
    application = web.Application()
    application.router.add_get("/props", it.props)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    it.port = site._server.sockets[0].getsockname()[1]
    yield it
    it.may_answer.set()
    await runner.cleanup()


def instance_of(upstream, more="", *, command="server", number=1):
    """A ready instance of a model that is served by the upstream."""
    path = upstream.folder / "config.yaml"
    path.write_text(f"models:\n  m:\n    cmd: {command}\n    proxy: http://127.0.0.1:{upstream.port}\n{more}")
    model = load_config([path], env={}, ports=PortBook()).models["m"]
    return Instance(number, model, started_at=0.0, ready_at=1.0)


@asynccontextmanager
async def running(*instances):
    """The lengths, while they may ask these instances, and what was learnt."""
    lengths, told = ContextLengths(), asyncio.Event()
    task = asyncio.get_running_loop().create_task(lengths.run(lambda: instances, told.set))
    await asyncio.sleep(0)
    yield lengths, told
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_llama_server_is_asked_when_it_is_ready(upstream):
    """Its length is known without a list, and whoever shows it is told."""
    instance = instance_of(upstream, command="/bin/llama-server")
    async with running(instance) as (lengths, told):
        assert lengths.known(instance.model) is None
        lengths.look()
        await told.wait()
        assert lengths.known(instance.model) == 4096


async def test_other_servers_are_asked_when_somebody_wants_to_know(upstream):
    """A server that may not know /props gets no request that nobody made."""
    instance = instance_of(upstream)
    async with running(instance) as (lengths, _):
        lengths.look()
        assert not lengths._asking
        await lengths.wanted()
        assert lengths.known(instance.model) == 4096


async def test_two_lists_ask_once(upstream):
    """While an answer is on its way nobody asks again, nor after it came."""
    instance = instance_of(upstream)
    async with running(instance) as (lengths, _):
        await asyncio.gather(lengths.wanted(), lengths.wanted())
        await lengths.wanted()
    assert upstream.asked == 1


async def test_slow_answer_counts_when_it_comes(upstream, monkeypatch):
    """A list waits a moment and goes on; the answer is learnt afterwards."""
    monkeypatch.setattr(context, "_SETTLE_SECONDS", 0.01)
    upstream.may_answer.clear()
    instance = instance_of(upstream)
    async with running(instance) as (lengths, told):
        await lengths.wanted()
        assert lengths.known(instance.model) is None
        upstream.may_answer.set()
        await told.wait()
        assert lengths.known(instance.model) == 4096


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_trouble_is_no_answer(upstream, status, monkeypatch):
    """An upstream that cannot tell now is asked again, but not by every list."""
    upstream.status = status
    instance = instance_of(upstream)
    async with running(instance) as (lengths, _):
        await lengths.wanted()
        await lengths.wanted()
        assert (upstream.asked, lengths.known(instance.model)) == (1, None)
    upstream.asked = 0
    monkeypatch.setattr(context, "_RETRY_SECONDS", 0.0)
    async with running(instance) as (lengths, _):
        await lengths.wanted()
        upstream.status = 200
        await lengths.wanted()
        assert (upstream.asked, lengths.known(instance.model)) == (2, 4096)


async def test_failed_connection_is_forgotten_with_its_instance(upstream):
    """The next instance of the same model is asked at once."""
    first, second = instance_of(upstream), instance_of(upstream, number=2)
    living = [first]
    lengths = ContextLengths()
    upstream.status = 500
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(lengths.run(lambda: living, lambda: None))
        await asyncio.sleep(0)
        await lengths.wanted()
        living[:], upstream.status = [second], 200
        await lengths.wanted()
        task.cancel()
    assert lengths.known(second.model) == 4096


@pytest.mark.parametrize(
    ("status", "body", "known"),
    [
        (200, b'{"n_ctx": 512}', 512),
        (200, b'{"default_generation_settings": {"n_ctx": -1}, "n_ctx": 512}', 512),
        (200, b'{"n_ctx": -1}', None),
        (200, b'{"n_ctx": null}', None),
        (200, b"no JSON", None),
        (200, b'{"n_ctx": 512, "x": "' + b"x" * 1024 * 1024 + b'"}', None),
        (404, b'{"error": {}}', None),
        (302, b"", None),
    ],
)
async def test_answers(upstream, status, body, known):
    """Whatever an upstream says is bounded and checked, and it is not asked twice."""
    upstream.status, upstream.body = status, body
    instance = instance_of(upstream)
    async with running(instance) as (lengths, _):
        await lengths.wanted()
        assert lengths.known(instance.model) == known
        instance_of_later = instance_of(upstream, number=2)
        assert lengths._due([instance_of_later], everyone=True) == []


async def test_configured_length_is_not_asked_for(upstream):
    """Who wrote it down knows it."""
    instance = instance_of(upstream, "    capabilities: {context: 5}\n", command="llama-server")
    async with running(instance) as (lengths, _):
        lengths.look()
        await lengths.wanted()
        assert (upstream.asked, lengths.known(instance.model)) == (0, 5)


async def test_nothing_is_asked_before_or_after_the_run(upstream):
    """A list may be asked for while the service stops."""
    lengths = ContextLengths()
    await lengths.wanted()
    instance = instance_of(upstream)
    async with running(instance) as (lengths, _):
        pass
    await lengths.wanted()
    assert upstream.asked == 0
