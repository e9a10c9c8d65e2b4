"""Devices that a test makes up."""

import threading
import time
from collections.abc import Iterable
from dataclasses import replace

from llama_swap.gpu.devices import Device, DeviceSnapshot


class FakeDevices:
    """Reads what it was given last; may be asked from any thread.

    Attributes:
        answers: clear it for a driver that hangs, set it to let it answer.
        reads: how often it was asked.
        asked: set once it was.
        closed: whether it was let go.
    """

    def __init__(self, devices: Iterable[Device] = (), *, problem: str = "") -> None:
        self.devices = tuple(devices)
        self.problem = problem
        self.answers = threading.Event()
        self.answers.set()
        self.reads = 0
        self.asked = threading.Event()
        self.closed = threading.Event()

    def use(self, index: int, **changes: object) -> None:
        """Change fields of one device."""
        self.devices = tuple(
            replace(device, **changes) if device.index == index else device  # type: ignore[arg-type] # fields by name
            for device in self.devices
        )

    def read(self) -> DeviceSnapshot:
        """The devices as they are, once the driver answers."""
        at = time.monotonic()
        self.reads += 1
        self.asked.set()
        self.answers.wait()
        return DeviceSnapshot(at, self.devices, self.problem)

    def close(self) -> None:
        """Note it."""
        self.closed.set()
