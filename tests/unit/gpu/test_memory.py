"""All memory in one reading: living instances, ended ones, containers, and drivers that say nothing of use."""

import pytest

from llama_swap.gpu import Device, DeviceWatch, ProcessUse
from llama_swap.gpu.fake import FakeDevices
from llama_swap.gpu.host import HostMemory, ProcessMemory
from llama_swap.gpu.memory import Kernel, MemoryWatch

HOST = HostMemory(64, 40)
CARD = Device(0, "card", total_bytes=24, free_bytes=4, used_bytes=20)


class Instance:
    """Processes that a test says."""

    def __init__(self, *pids, container=()):
        self.here, self.container = pids, container

    def pids(self):
        """Those here."""
        return frozenset(self.here)

    def owns(self, pid):
        """Those elsewhere."""
        return pid in self.container


class World:
    """Devices and a kernel that a test makes up, and the watch over them."""

    def __init__(self):
        self.devices = FakeDevices([CARD])
        self.whole = True
        self.watch = MemoryWatch(
            DeviceWatch(self.devices),
            Kernel(
                host=lambda: HOST,
                processes=lambda pids: ProcessMemory(len(pids), 10 * len(pids)),
                exists=lambda pid: pid < 100,
                is_whole_machine=lambda: self.whole,
            ),
        )

    def lists(self, *processes):
        """The driver lists these (pid, bytes)."""
        self.devices.use(0, processes=tuple(ProcessUse(pid, used) for pid, used in processes))

    async def held(self, **holders):
        """{name: bytes on the card}, read now."""
        names = {int(name[1:]): name for name in holders}
        reading = await self.watch.read({int(name[1:]): holder for name, holder in holders.items()})
        return {names.get(i, f"i{i}"): holding.device_bytes.get(0) for i, holding in reading.holdings.items()}


@pytest.fixture
async def world():
    """One card whose driver lists nothing."""
    world = World()
    world.lists()
    yield world
    world.devices.answers.set()


async def test_one_reading(world):
    """The host, the devices, and what each living instance has of both."""
    world.lists((10, 5), (99, 7))
    reading = await world.watch.read({1: Instance(9, 10), 2: Instance(20)})
    assert reading.host == HOST
    assert [device.free_bytes for device in reading.devices] == [4]
    assert {i: h.device_bytes for i, h in reading.holdings.items()} == {1: {0: 5}, 2: {0: 0}}
    assert reading.holdings[1].host == ProcessMemory(2, 20)
    assert reading.problem == ""


async def test_an_instance_that_ended_holds_what_is_still_listed(world):
    """R11: the process is gone, its memory is not; only a list without it ends the matter."""
    world.lists((10, 5))
    one = Instance(10)
    assert await world.held(i1=one) == {"i1": 5}
    assert await world.held() == {"i1": 5}
    assert await world.held(i2=Instance(20)) == {"i1": 5, "i2": 0}
    world.lists()
    assert await world.held() == {}
    world.lists((10, 5))
    assert await world.held() == {}, "that is somebody else by now"


async def test_a_helper_that_ended_before_its_model(world):
    """A process that the tree lost but the driver still lists is the instance's."""
    world.lists((10, 5), (11, 3))
    one = Instance(10, 11)
    assert await world.held(i1=one) == {"i1": 8}
    one.here = (10,)
    assert await world.held(i1=one) == {"i1": 8}


async def test_processes_in_a_container(world):
    """They are in no tree of ours, while it runs and when its client was killed and the container lives on."""
    world.lists((50, 5))
    one = Instance(10, container=(50,))
    assert await world.held(i1=one) == {"i1": 5}
    assert await world.held() == {"i1": 5}
    world.lists()
    assert await world.held() == {}


async def test_the_process_of_one_is_not_another_s(world):
    """A tree that has a process goes before a container that claims it."""
    world.lists((20, 5))
    assert await world.held(i1=Instance(10, container=(20,)), i2=Instance(20)) == {"i1": 0, "i2": 5}


async def test_inside_a_container_lists_may_mean_nothing(world):
    """Nobody is said to hold nothing only because the driver counts processes in another way."""
    world.whole = False
    world.lists((5000, 5))
    assert await world.held(i1=Instance(10)) == {"i1": None}
    world.lists()
    assert await world.held(i1=Instance(10)) == {"i1": None}
    world.lists((10, 5), (5000, 1))
    assert await world.held(i1=Instance(10)) == {"i1": 5}


async def test_what_others_have(world):
    """Neither what is ours, also after its end, nor anything where lists mean nothing."""
    world.lists((10, 5), (60, 3))
    assert (await world.watch.read({1: Instance(10)})).others == {0: 3}
    assert (await world.watch.read({})).others == {0: 3}
    world.whole = False
    assert (await world.watch.read({})).others == {0: 3}
    world.lists((5000, 3))
    assert (await world.watch.read({})).others == {}


async def test_a_driver_that_hangs(world):
    """The figures of before with a reason, within seconds; the host's are of now."""
    await world.watch.read({})
    world.watch._devices._patience_seconds = 0.02
    world.devices.answers.clear()
    reading = await world.watch.read({1: Instance(10)})
    assert "has not answered" in reading.problem
    assert reading.host == HOST


async def test_the_real_kernel():
    """Without devices, and with everything else as it is."""
    reading = await MemoryWatch(DeviceWatch(FakeDevices(problem="no driver"))).read({})
    assert reading.problem == "no driver"
    assert reading.host.total_bytes > 1 << 20
