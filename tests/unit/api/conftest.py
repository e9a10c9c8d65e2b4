"""Control routes with a supervisor that only notes what it is asked for."""

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from aiohttp.test_utils import TestClient, TestServer

from llama_swap.api import guard
from llama_swap.api.directory import Directory
from llama_swap.api.errors import error_response
from llama_swap.api.site import SITE
from llama_swap.config import PortBook, load_config
from llama_swap.errors import RequestError
from llama_swap.logs import LogHub
from llama_swap.proxy import front
from llama_swap.scheduler.memory import HOST
from llama_swap.scheduler.policy.ruling import RuleKind
from llama_swap.scheduler.snapshot import InstanceView, ModelView, PoolView, Snapshot, Standing
from llama_swap.scheduler.state import Phase

GIB = 1024**3

POOLS = (
    PoolView("GPU-aaaa", "GPU 0 (RTX 3090)", 0, 24 * GIB, 5 * GIB, 18 * GIB, 4 * GIB, 1 * GIB),
    PoolView("GPU-bbbb", "GPU 1 (RTX 3060)", 1, 12 * GIB, 12 * GIB, 0, 11 * GIB, None),
    PoolView(HOST, "memory of the machine", None, 64 * GIB, 40 * GIB, 2 * GIB, 37 * GIB, 20 * GIB),
)


def instance(model="m", phase=Phase.READY, **more):
    """A living instance in a snapshot."""
    values = {"leases": 0, "because": "a request waits for it", "since": 90.0, "ready_at": 91.0, "last_used": 95.0}
    return InstanceView(**{"model": model, "instance_id": 7, "phase": phase, "unload_at": None, **values, **more})


class FakeSupervisor:
    """Notes what it is asked for; its snapshot is what the test says, and what ``then`` makes of it.

    Attributes:
        asked: (method, argument, keyword arguments) of each call, oldest first.
        measured: how often somebody wanted memory to be measured.
        then: snapshot -> the one after the next call.
    """

    def __init__(self, config):
        self.config = config
        self.asked = []
        self.measured = 0
        self.then = lambda snapshot: snapshot
        models = tuple(ModelView(model, Standing.STOPPED, 0, 0, "", None) for model in config.models)
        self.picture = Snapshot(at=100.0, instances=(), models=models, queue=(), is_closing=False)

    def shows(self, **changes):
        """What the snapshot says from now on."""
        self.picture = replace(self.picture, **changes)

    def snapshot(self):
        """What the test said."""
        return self.picture

    async def wait_measured(self):
        """Count it."""
        self.measured += 1

    def instance_of(self, _model_id):
        """No process."""

    def _note(self, method, argument, **keywords):
        self.asked.append((method, argument, keywords))
        self.picture = self.then(self.picture)

    async def load(self, model_id, **keywords):
        """Note it."""
        self._note("load", model_id, **keywords)

    def pin(self, model_id):
        """Note it."""
        self._note("pin", model_id)

    def unpin(self, model_id):
        """Note it."""
        self._note("unpin", model_id)

    def request_yield(self, holder, **keywords):
        """Note it."""
        self._note("request_yield", holder, **keywords)

    def end_yield(self, holder=None):
        """Note it."""
        self._note("end_yield", holder)


@pytest.fixture
def make_supervisor(tmp_path):
    """Makes one that has this configuration in force."""

    def make(text="models: {m: {cmd: 'srv ${PORT}'}, org/m: {cmd: 'srv ${PORT}', aliases: [big]}}"):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return FakeSupervisor(load_config([path], env={}, ports=PortBook(lambda _port: True)))

    return make


@pytest.fixture
def supervisor(make_supervisor):
    """With two models and two devices."""
    made = make_supervisor()
    made.shows(pools=POOLS, rule=RuleKind.FIT)
    return made


@pytest.fixture
def ended():
    """Set when a handler of ``mount`` has ended, however it did."""
    return asyncio.Event()


@pytest.fixture
async def mount(ended):
    """Routes to a client of them alone: behind the table of errors, and not the guard."""

    @web.middleware
    async def answer(request, handler):
        try:
            return await handler(request)
        except RequestError as error:
            return error_response(error)
        finally:
            ended.set()

    async with AsyncExitStack() as stack:

        async def mount(routes):
            application = web.Application(middlewares=[answer])
            application.add_routes(routes)
            return await stack.enter_async_context(TestClient(TestServer(application), timeout=ClientTimeout(total=10)))

        yield mount


def make_site(supervisor):
    """The part of the service that the guard needs."""
    return SimpleNamespace(
        supervisor=supervisor,
        config=supervisor.config,
        directory=Directory(supervisor.config),
        known_names=frozenset(),
        hub=MagicMock(spec=LogHub),
    )


@asynccontextmanager
async def behind_guard(site, routes):
    """A client of these routes that has one connection; they are behind the guard."""
    application = web.Application(client_max_size=0)
    application[SITE] = site
    application.add_routes(routes)
    runner = front.make_runner(application)
    await runner.setup()
    guard(runner, site)
    listener = socket.create_server(("127.0.0.1", 0))
    server = await front.listen(runner, listener)
    base_url, connector = f"http://127.0.0.1:{listener.getsockname()[1]}", TCPConnector(limit=1)
    try:
        async with ClientSession(base_url, connector=connector, timeout=ClientTimeout(total=10)) as client:
            yield client
    finally:
        await front.close(runner, [server], budget_seconds=0)


@asynccontextmanager
async def serving(supervisor, routes):
    """The same with a supervisor alone."""
    async with behind_guard(make_site(supervisor), routes) as client:
        yield client
