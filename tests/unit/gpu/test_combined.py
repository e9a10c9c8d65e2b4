"""Devices of several makers in one list."""

from llama_swap.gpu import AllDevices, Device, DeviceSnapshot
from llama_swap.gpu.combined import GONE
from llama_swap.gpu.fake import FakeDevices


def test_devices_are_numbered_through():
    """In the order of the readers."""
    devices = AllDevices(FakeDevices([Device(0, "a"), Device(1, "b")]), FakeDevices([Device(0, "c")])).read().devices
    assert [(device.index, device.name) for device in devices] == [(0, "a"), (1, "b"), (2, "c")]


def test_a_maker_that_is_not_there():
    """Its absence is a problem only on a machine without any device."""
    missing = FakeDevices(problem="no driver")
    assert AllDevices(missing, FakeDevices([Device(0, "c")])).read().problem == ""
    assert AllDevices(missing, FakeDevices()).read().problem == "no driver"


def test_a_maker_that_was_there():
    """Its driver vanished, or lists nothing without an error: never "there is none", and nobody takes its numbers."""
    nvidia, amd = FakeDevices([Device(0, "a"), Device(1, "b")]), FakeDevices([Device(0, "c")])
    devices = AllDevices(nvidia, amd)
    devices.read()
    nvidia.devices = ()
    for problem, told in (("", GONE), ("not loaded", "not loaded")):
        nvidia.problem = problem
        snapshot = devices.read()
        assert ([(d.index, d.name) for d in snapshot.devices], snapshot.problem) == ([(2, "c")], told)
    amd.devices = ()
    assert devices.read().problem == f"not loaded; {GONE}"
    nvidia.devices, nvidia.problem = (Device(0, "a"),), ""
    amd.devices = (Device(0, "c"),)
    snapshot = devices.read()
    assert ([device.index for device in snapshot.devices], snapshot.problem) == ([0, 1], "")


def test_closing_closes_all():
    """Every driver is let go."""
    readers = [FakeDevices(), FakeDevices()]
    AllDevices(*readers).close()
    assert all(reader.closed.is_set() for reader in readers)


def test_it_is_as_old_as_the_oldest(monkeypatch):
    """A snapshot is not newer than any part of it."""
    first, second = FakeDevices(), FakeDevices()
    for fake, at in ((first, 5.0), (second, 3.0)):
        monkeypatch.setattr(fake, "read", lambda at=at: DeviceSnapshot(at))
    assert AllDevices(first, second).read().at == 3.0
