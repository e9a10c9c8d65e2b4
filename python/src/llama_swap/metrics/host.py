"""The machine at one moment: processors, memory, load and network, read by psutil."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import psutil

_LOOPBACK = "lo"


@dataclass(frozen=True, slots=True)
class NetworkCount:
    """Bytes over one network interface since the machine started."""

    interface: str
    received_bytes: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class HostSample:
    """One reading; the fields of llama-swap's host statistics, memory in bytes.

    Attributes:
        at: seconds since 1970.
        cpu_percent: busy share of each core since the reading before, 0 to 100.
        free_bytes: unused memory; the file cache is neither used nor free.
        load: the averages over 1, 5 and 15 minutes.
        network: every interface but the loopback.
    """

    at: float
    cpu_percent: tuple[float, ...]
    total_bytes: int
    used_bytes: int
    free_bytes: int
    swap_total_bytes: int
    swap_used_bytes: int
    load: tuple[float, float, float]
    network: tuple[NetworkCount, ...]


class HostReader:
    """Reads the machine; remembers the processor times of the last reading. Used by one thread at a time.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._times = psutil.cpu_times(percpu=True)

    def read(self) -> HostSample:
        """The machine now (a few milliseconds of blocking reads from /proc)."""
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        times, before = psutil.cpu_times(percpu=True), self._times
        self._times = times
        return HostSample(
            at=self._clock(),
            cpu_percent=busy_percent(before, times),
            total_bytes=memory.total,
            used_bytes=memory.used,
            free_bytes=memory.free,
            swap_total_bytes=swap.total,
            swap_used_bytes=swap.used,
            load=psutil.getloadavg(),
            network=_network(),
        )


def busy_percent(before: Collection[Any], after: Collection[Any]) -> tuple[float, ...]:
    """The busy share of each core between two readings of psutil's ``cpu_times``; waiting for a disk is idle.

    Cores may come and go between two readings; a core without a reading before counts from the start of the machine.
    """
    earlier = list(before) if len(before) == len(after) else [None] * len(after)
    return tuple(_busy(old, new) for old, new in zip(earlier, after, strict=True))


def _busy(old: Any, new: Any) -> float:
    total = _total(new) - (_total(old) if old else 0.0)
    idle = _idle(new) - (_idle(old) if old else 0.0)
    # A counter may run backwards by a tick.
    return round(min(100.0, max(0.0, 100.0 * (1.0 - idle / total))), 2) if total > 0 else 0.0


def _total(times: Any) -> float:
    # The kernel counts the time of guests in user and nice already.
    return float(sum(times)) - float(getattr(times, "guest", 0.0)) - float(getattr(times, "guest_nice", 0.0))


def _idle(times: Any) -> float:
    return float(times.idle) + float(getattr(times, "iowait", 0.0))


def _network() -> tuple[NetworkCount, ...]:
    counts = psutil.net_io_counters(pernic=True, nowrap=False)
    return tuple(
        NetworkCount(name, count.bytes_recv, count.bytes_sent)
        for name, count in sorted(counts.items())
        if name != _LOOPBACK
    )


def resident_bytes(pids: Collection[int]) -> int:
    """Memory of these processes in RAM; those that are gone count nothing."""
    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.Error:
            continue
    return total
