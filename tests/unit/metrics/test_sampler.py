"""The loop that looks at the machine."""

import asyncio
import json
import os
import threading
from contextlib import asynccontextmanager

import pytest

from llama_swap.gpu import DeviceSnapshot
from llama_swap.metrics import PerformanceRing, Sampler, Sources


class Machine:
    """A machine that counts how often it was read."""

    def __init__(self, sample):
        self.sample = sample
        self.reads = 0
        self.was_read = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.goes_on = threading.Event()
        self.goes_on.set()

    def read(self):
        """The same each time."""
        self.reads += 1
        self.loop.call_soon_threadsafe(self.was_read.set)
        self.goes_on.wait()
        return self.sample

    async def wait_read(self):
        """Return after the next reading."""
        self.was_read.clear()
        await asyncio.wait_for(self.was_read.wait(), 10)


@pytest.fixture
async def machine(sample):
    """It."""
    return Machine(sample)


@pytest.fixture
async def sampler_of(machine, metrics, card):
    """``sampler_of(ring)``: a sampler of a machine with one card on which the model a is this very process."""

    async def devices():
        return DeviceSnapshot(0.0, (card,))

    sources = Sources(machine, devices, lambda: {"a": os.getpid()}, lambda pid: [pid, 1])
    return lambda ring: Sampler(sources, metrics, ring)


@asynccontextmanager
async def running(sampler):
    """The sampler at work."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(sampler.run())
        yield
        task.cancel()


async def test_a_sample_reaches_everybody(sampler_of, metrics, page):
    """The ring, the gauges, and the memory of each model's processes; the card knows process 1."""
    ring = PerformanceRing(5.0)
    await sampler_of(ring).sample()
    assert len(json.loads(ring.to_json())["sys_stats"]) == 1
    seen = page(metrics)
    assert seen['llamaswap_load_average{interval="1m"}'] == 1.0
    assert seen['llamaswap_model_memory_resident_bytes{model="a"}'] > 1024**2
    assert seen['llamaswap_model_gpu_memory_bytes{id="0",model="a"}'] == 1024**3


async def test_it_begins_at_once_and_goes_on(sampler_of, machine):
    """The first sample does not wait for the first interval."""
    async with running(sampler_of(PerformanceRing(0.01))):
        await machine.wait_read()
        await machine.wait_read()
    assert machine.reads >= 2


async def test_disabled_it_never_looks(sampler_of, machine):
    """Until a reload enables it."""
    sampler = sampler_of(PerformanceRing(None))
    async with running(sampler):
        await asyncio.sleep(0)
        assert machine.reads == 0
        sampler.configure(60.0)
        await machine.wait_read()
    assert machine.reads == 1


async def test_switched_off_nothing_stays(sampler_of, machine, metrics, page):
    """The gauges of the machine go when it is not looked at any more."""
    ring = PerformanceRing(60.0)
    sampler = sampler_of(ring)
    await sampler.sample()
    sampler.configure(None)
    assert "llamaswap_memory_total_bytes" not in page(metrics)
    assert json.loads(ring.to_json()) == {"enabled": False}


async def test_the_same_interval_again_changes_nothing(sampler_of, machine):
    """A reload without a change does not disturb the rhythm."""
    sampler = sampler_of(PerformanceRing(60.0))
    async with running(sampler):
        await machine.wait_read()
        sampler.configure(60.0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert machine.reads == 1


async def test_switched_off_while_it_looks(sampler_of, machine, metrics, page):
    """A sample that comes too late is dropped."""
    sampler = sampler_of(PerformanceRing(60.0))
    machine.goes_on.clear()
    looking = asyncio.get_running_loop().create_task(sampler.sample())
    await machine.wait_read()
    sampler.configure(None)
    machine.goes_on.set()
    await looking
    assert "llamaswap_memory_total_bytes" not in page(metrics)
