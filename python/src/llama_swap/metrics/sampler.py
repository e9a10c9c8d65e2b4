"""The loop that looks at the machine every few seconds, as long as anybody wants it to (``performance``)."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from llama_swap.metrics.host import HostSample, resident_bytes
from llama_swap.metrics.performance import PerformanceRing
from llama_swap.metrics.registry import Metrics
from llama_swap.metrics.views import DeviceSnapshotView, ModelMemory, device_memory


class ReadsHost(Protocol):
    """What reads the machine (:class:`llama_swap.metrics.host.HostReader`)."""

    def read(self) -> HostSample:
        """The machine now; may block for milliseconds."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where samples come from.

    Attributes:
        host: called in a thread.
        devices: answers within seconds whatever the driver does (:meth:`llama_swap.gpu.DeviceWatch.read`).
        pids: the process ID of every running model, asked on the loop.
        family: a process and everything it started, asked in a thread.
    """

    host: ReadsHost
    devices: Callable[[], Awaitable[DeviceSnapshotView]]
    pids: Callable[[], Mapping[str, int]]
    family: Callable[[int], Collection[int]]


class Sampler:
    """Feeds the metrics and the ring of samples."""

    def __init__(self, sources: Sources, metrics: Metrics, ring: PerformanceRing) -> None:
        self._sources = sources
        self._metrics = metrics
        self._ring = ring
        self._changed = asyncio.Event()

    def configure(self, every_seconds: float | None) -> None:
        """Sample this often from now on; None for never (after a reload)."""
        if every_seconds == self._ring.every_seconds:
            return
        self._ring.configure(every_seconds)
        if every_seconds is None:
            self._metrics.observe_host(None)
        self._changed.set()

    async def run(self) -> None:
        """Sample until cancelled; the first time at once."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            every = self._ring.every_seconds
            next_at = None if every is None else loop.time() + every
            if every is not None:
                await self.sample()
            try:
                async with asyncio.timeout_at(next_at):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def sample(self) -> None:
        """Look once."""
        pids = dict(self._sources.pids())
        snapshot = await self._sources.devices()
        host, memory = await asyncio.to_thread(self._read, pids, snapshot)
        if self._ring.every_seconds is not None:  # it may have been switched off meanwhile
            self._ring.add(host, snapshot.devices)
            self._metrics.observe_host(host, snapshot.devices, memory)

    def _read(self, pids: Mapping[str, int], snapshot: DeviceSnapshotView) -> tuple[HostSample, dict[str, ModelMemory]]:
        """In a thread."""
        families = {model: frozenset(self._sources.family(pid)) for model, pid in pids.items()}
        memory = {
            model: ModelMemory(resident_bytes(family), device_memory(family, snapshot.devices))
            for model, family in families.items()
        }
        return self._sources.host.read(), memory
