"""Who has what: the memory of all devices and of the machine, divided among the instances of models.

The driver tells the memory of each process. That helps only where its process IDs are ours, too: inside a container
it may tell those of the machine around it, which mean nothing here.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from llama_swap.gpu.devices import Device
from llama_swap.gpu.host import HostMemory, ProcessMemory

_INITIAL_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO, include/linux/proc_ns.h


class Holder(Protocol):
    """One instance, as far as its processes are concerned; asked in a thread."""

    def pids(self) -> Collection[int]:
        """Its processes now."""

    def owns(self, pid: int) -> bool:
        """Whether a process that is not among them is its all the same: in a container that it started."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one instance has.

    Attributes:
        host: of the machine's memory.
        device_bytes: index of the device -> bytes, 0 included; a device that does not tell is missing.
    """

    host: ProcessMemory = field(default_factory=ProcessMemory)
    device_bytes: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """All memory at one moment.

    Attributes:
        at: monotonic seconds at which the reading began.
        host: None where the kernel does not tell.
        holdings: by ID of the instance; those that have ended but still are on a device included.
        problem: why devices are missing, or why these figures are old; "" is none.
        others: what other living processes are listed with: index of the device -> bytes; one that does not tell is
            missing.
    """

    at: float
    host: HostMemory | None
    devices: tuple[Device, ...] = ()
    holdings: Mapping[int, Holding] = field(default_factory=dict)
    problem: str = ""
    others: Mapping[int, int] = field(default_factory=dict)

    def is_attributed(self, device: Device) -> bool:
        """Whether it is known who has what on a device."""
        return device.processes is not None and all(device.index in h.device_bytes for h in self.holdings.values())


def divide(devices: Iterable[Device], families: Mapping[int, Collection[int]]) -> dict[int, dict[int, int]]:
    """What each instance has on each device.

    Args:
        devices: as they were read.
        families: ID of the instance -> its processes.

    Returns:
        Instance -> index of the device -> bytes; a device that does not tell is missing everywhere.
    """
    shares: dict[int, dict[int, int]] = {instance: {} for instance in families}
    for device in devices:
        if device.processes is None:
            continue
        uses = {use.pid: use.used_bytes for use in device.processes}
        owned = {instance: [uses[pid] for pid in pids if pid in uses] for instance, pids in families.items()}
        if any(None in known for known in owned.values()):
            continue
        held = {instance: sum(used for used in known if used is not None) for instance, known in owned.items()}
        if device.total_bytes is not None and max(held.values(), default=0) > device.total_bytes:
            continue  # drivers have been seen to mix up the fields of a process; such a figure would be learned
        for instance, used in held.items():
            shares[instance][device.index] = used
    return shares


def listed_with_others(
    devices: Iterable[Device], ours: Collection[int], *, exists: Callable[[int], bool]
) -> dict[int, int]:
    """What living processes that are not ours have on each device, where the driver tells it of all of them.

    What dead ones still have is on its way back, and one of them may have been ours without our knowing.
    """
    listed = {}
    for device in devices:
        strange = [use for use in device.processes or () if use.pid not in ours and exists(use.pid)]
        sizes = [use.used_bytes for use in strange if use.used_bytes is not None]
        is_known = device.processes is not None and len(sizes) == len(strange)
        if is_known and (device.total_bytes is None or sum(sizes) <= device.total_bytes):
            listed[device.index] = sum(sizes)
    return listed


def speaks_of_us(device: Device, ours: Collection[int], *, exists: Callable[[int], bool]) -> bool:
    """Whether the process IDs that the driver lists can be those of this machine as a container sees it.

    Not so if it lists nothing, which is what it does when it cannot translate them, nor if none of them is ours and
    some stand for no process at all here. On a machine seen as a whole (see :func:`is_whole_machine`) that would only
    be a process that has just ended.
    """
    listed = {use.pid for use in device.processes or ()}
    return not listed.isdisjoint(ours) or (bool(listed) and all(exists(pid) for pid in listed))


def is_whole_machine() -> bool:
    """Whether we are in the first namespace of processes, whose IDs are those that the driver knows."""
    try:
        return os.readlink("/proc/self/ns/pid") == _INITIAL_NAMESPACE  # noqa: PTH115 - the target is no path
    except OSError:
        return False


def process_exists(pid: int) -> bool:
    """Whether there is a process with this ID here, whoever owns it; also where /proc hides it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
