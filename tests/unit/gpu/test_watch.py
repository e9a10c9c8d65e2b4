"""Devices read in a thread, from drivers that answer, hang and fail."""

import asyncio

import pytest

from llama_swap.gpu import Device, DeviceWatch
from llama_swap.gpu.fake import FakeDevices

CARD = Device(0, "card", total_bytes=10, free_bytes=4)


@pytest.fixture
def fake():
    """One card."""
    fake = FakeDevices([CARD])
    yield fake
    fake.answers.set()  # or its thread would wait for ever


async def test_a_reading_is_current(fake):
    """Each call sees what is true now."""
    watch = DeviceWatch(fake)
    assert (await watch.read()).devices == (CARD,)
    fake.use(0, free_bytes=1)
    assert (await watch.read()).devices[0].free_bytes == 1
    assert watch.latest.devices[0].free_bytes == 1
    watch.close()


async def test_a_reading_under_way_is_not_current_enough(fake):
    """Who asks after something changed must not get a reading that began before."""
    watch = DeviceWatch(fake)
    fake.answers.clear()
    early = asyncio.get_running_loop().create_task(watch.read())
    assert await asyncio.to_thread(fake.asked.wait, 10)
    late = asyncio.get_running_loop().create_task(watch.read())
    await asyncio.sleep(0)
    fake.answers.set()
    first, second = await early, await late
    assert fake.reads == 2
    assert second.at > first.at
    watch.close()


async def test_many_share_a_reading(fake):
    """Callers of the same moment are one question to the driver."""
    watch = DeviceWatch(fake)
    fake.answers.clear()
    readers = [asyncio.get_running_loop().create_task(watch.read()) for _ in range(20)]
    await asyncio.sleep(0)
    fake.answers.set()
    await asyncio.gather(*readers)
    assert fake.reads <= 2
    watch.close()


async def test_a_driver_that_hangs(fake):
    """The caller gets the figures from before, and is told that they are old; later answers count again."""
    watch = DeviceWatch(fake, patience_seconds=0.02)
    await watch.read()
    fake.answers.clear()
    late = await watch.read()
    assert late.devices == (CARD,)
    assert "has not answered" in late.problem
    fake.answers.set()
    watch._patience_seconds = 10
    assert (await watch.read()).problem == ""
    watch.close()


async def test_a_reader_with_a_defect(fake, monkeypatch):
    """An exception is a problem of the snapshot; the thread lives on."""
    watch = DeviceWatch(fake)
    with monkeypatch.context() as broken:
        broken.setattr(FakeDevices, "read", lambda self: 1 / 0)
        assert "ZeroDivisionError" in (await watch.read()).problem
    assert (await watch.read()).devices == (CARD,)
    watch.close()


async def test_closing_lets_go(fake):
    """The thread closes the reader and ends; a watch that was never used has none."""
    watch = DeviceWatch(fake)
    await watch.read()
    watch.close()
    assert await asyncio.to_thread(fake.closed.wait, 10)
    DeviceWatch(FakeDevices()).close()


async def test_a_cancelled_caller_does_not_cost_the_others(fake):
    """The reading goes on for whoever else waits for it."""
    watch = DeviceWatch(fake)
    fake.answers.clear()
    leaving = asyncio.get_running_loop().create_task(watch.read())
    staying = asyncio.get_running_loop().create_task(watch.read())
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    fake.answers.set()
    assert (await staying).devices == (CARD,)
    watch.close()


def test_a_loop_that_has_ended(fake):
    """An answer that comes after the end of the service is dropped, and the thread ends."""
    fake.answers.clear()

    async def ask():
        watch = DeviceWatch(fake, patience_seconds=0.01)
        await watch.read()

    asyncio.run(ask())
    fake.answers.set()
    assert fake.closed.wait(10)
