"""A supervisor at work, with processes and memory that a test controls."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import yaml

from llama_swap.config import PortBook, load_config
from llama_swap.gpu import Device, ProcessUse
from llama_swap.scheduler.memory import Need, NeedSource
from llama_swap.supervisor import Supervisor
from llama_swap.testing import FakeLauncher, FakeMemory, RecordingObserver


def make_config(tmp_path, models, **top):
    """A configuration with these models; each value holds keys to add to a plausible command."""
    rendered = {name: {"cmd": "server --port ${PORT}", **keys} for name, keys in models.items()}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"models": rendered, **top}))
    return load_config([path], env={}, ports=PortBook(lambda _port: True))


@asynccontextmanager
async def running(config, launcher, ports=None, memory=None):
    """A supervisor that works while the block does."""
    observer = RecordingObserver()
    supervisor = Supervisor(
        config,
        launcher=launcher,
        ports=ports or PortBook(lambda _port: True),
        observer=observer,
        environment={"HOME": "/"},
        senses=memory.senses() if memory else None,
    )
    started = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(supervisor.run(started))
        await started.wait()
        yield supervisor, observer
        await supervisor.shutdown()
        task.cancel()


@asynccontextmanager
async def leased(supervisor, model):
    """A request that holds a lease while the block lasts."""
    with supervisor.lease(model) as lease:
        await lease.wait_grant()
        yield lease


@pytest.fixture
def launcher():
    """Processes that are ready as soon as they are started."""
    return FakeLauncher()


CARD = Device(
    0,
    "RTX",
    uuid="GPU-0",
    vendor="NVIDIA",
    total_bytes=24 << 30,
    used_bytes=0,
    free_bytes=24 << 30,
    processes=(ProcessUse(1, 1),),
)


@pytest.fixture
def memory():
    """A machine with two cards of 24 GiB."""
    return FakeMemory(CARD, replace(CARD, index=1, uuid="GPU-1"))


def needs(gib):
    """Of devices."""
    return Need(NeedSource.DECLARED, gib << 30)
