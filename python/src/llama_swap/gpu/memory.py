"""Reads all memory at once, without waiting for a driver in trouble.

The devices by :class:`DeviceWatch`, the rest in a thread. Nothing is polled, and no CUDA context is made.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from llama_swap.gpu.devices import Device, DeviceSnapshot
from llama_swap.gpu.holdings import (
    Holder,
    Holding,
    MemoryReading,
    divide,
    is_whole_machine,
    listed_with_others,
    process_exists,
    speaks_of_us,
)
from llama_swap.gpu.host import HostMemory, ProcessMemory, read_host, read_processes
from llama_swap.gpu.watch import DeviceWatch


@dataclass(frozen=True, slots=True)
class Kernel:
    """What is asked of the kernel; each blocks for about a millisecond."""

    host: Callable[[], HostMemory | None] = read_host
    processes: Callable[[Collection[int]], ProcessMemory] = read_processes
    exists: Callable[[int], bool] = process_exists
    is_whole_machine: Callable[[], bool] = is_whole_machine


def kernel(group: Path | None) -> Kernel:
    """The kernel as it treats us in a control group."""
    return Kernel(host=lambda: read_host(group))


@dataclass(frozen=True, slots=True)
class _Known:
    """An instance and the processes that it was last seen with."""

    holder: Holder
    pids: frozenset[int]


class MemoryWatch:
    """Gives readings of all memory to the event loop; belongs to it.

    It remembers the processes of an instance beyond its end for as long as the driver lists them: until then their
    memory is not free, whatever the driver says.
    """

    def __init__(self, devices: DeviceWatch, asks: Kernel | None = None) -> None:
        self._devices = devices
        self._asks = asks or Kernel()
        self._known: dict[int, _Known] = {}
        self._turn = asyncio.Lock()

    async def read(self, holders: Mapping[int, Holder]) -> MemoryReading:
        """A reading that began after this call, or an old one that says so.

        Args:
            holders: the living instances by their ID.
        """
        async with self._turn:
            snapshot = await self._devices.read()
            return await asyncio.to_thread(self._collect, snapshot, dict(holders))

    def _collect(self, snapshot: DeviceSnapshot, holders: Mapping[int, Holder]) -> MemoryReading:
        """In a thread."""
        listed = frozenset(use.pid for device in snapshot.devices for use in device.processes or ())
        living = {instance: frozenset(holder.pids()) for instance, holder in holders.items()}
        strange = listed.difference(*living.values())
        known = {**self._known, **{i: _Known(h, self._pids_before(i)) for i, h in holders.items()}}
        families = {i: living.get(i, frozenset()) | _its(entry, strange) for i, entry in known.items()}
        families = {i: pids for i, pids in families.items() if i in holders or pids}
        self._known = {i: _Known(known[i].holder, pids) for i, pids in families.items()}
        ours = frozenset(pid for pids in families.values() for pid in pids)
        trusted = self._trusted(snapshot.devices, ours)
        shares = divide(trusted, families)
        others = listed_with_others(trusted, ours, exists=self._asks.exists)
        holdings = {i: Holding(self._asks.processes(living.get(i, ())), shares[i]) for i in families}
        return MemoryReading(snapshot.at, self._asks.host(), snapshot.devices, holdings, snapshot.problem, others)

    def _pids_before(self, instance: int) -> frozenset[int]:
        return self._known[instance].pids if instance in self._known else frozenset()

    def _trusted(self, devices: Collection[Device], ours: Collection[int]) -> list[Device]:
        """The devices whose lists of processes speak of our processes."""
        if self._asks.is_whole_machine():
            return list(devices)
        return [device for device in devices if speaks_of_us(device, ours, exists=self._asks.exists)]


def _its(known: _Known, strange: Collection[int]) -> frozenset[int]:
    """Of the processes on devices that no living tree has, those that it had before, and those in its container."""
    return frozenset(pid for pid in strange if pid in known.pids or known.holder.owns(pid))
