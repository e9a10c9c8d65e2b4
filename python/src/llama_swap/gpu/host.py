"""The machine's own memory: what there is, what can be had, and what processes have of it (proc(5)).

A control group may allow less than the machine has (Documentation/admin-guide/cgroup-v2.rst: ``memory.max``,
``memory.high``); then that is the whole of it. Of what a group uses, the pages of files count as free, as they do in
the kernel's own ``MemAvailable``: they can be dropped and read again.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_KIB = 1024
_LIMITS = ("memory.max", "memory.high")
_RECLAIMABLE = ("inactive_file", "active_file", "slab_reclaimable")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class HostMemory:
    """The memory of the machine, or of the control group that we are in where that has less.

    Attributes:
        available_bytes: what programs can still take without swapping.
    """

    total_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """The memory of some processes.

    Attributes:
        held_bytes: what only their end gives back: anonymous and shared memory, without the files they map.
        resident_bytes: with those pages of mapped files that are in memory.
    """

    held_bytes: int = 0
    resident_bytes: int = 0


def read_host(group: Path | None = None, proc: Path = _PROC) -> HostMemory | None:
    """The memory now; None where the kernel hides it (systemd's ``ProcSubset=pid``).

    Args:
        group: the folder of the cgroup v2 group that we are in; None without one.
        proc: where procfs is mounted.
    """
    fields = _fields(proc / "meminfo")
    total, available = fields.get("MemTotal"), fields.get("MemAvailable")
    if total is None or available is None:
        return None
    for limit, room in _groups(group):
        total, available = min(total, limit), min(available, room)
    return HostMemory(total, available)


def _groups(group: Path | None) -> Iterator[tuple[int, int]]:
    """Limit and room of our group and of those around it, as far as they have a limit."""
    for folder in () if group is None else (group, *group.parents):
        limits = [limit for name in _LIMITS if (limit := _whole(folder / name)) is not None]
        used = _whole(folder / "memory.current")
        if limits and used is not None:
            stat = _fields(folder / "memory.stat", unit=1)
            reclaimable = sum(stat.get(name, 0) for name in _RECLAIMABLE)
            yield min(limits), max(0, min(limits) - used + reclaimable)


def read_processes(pids: Collection[int], proc: Path = _PROC) -> ProcessMemory:
    """The memory of these processes; those that are gone, or not ours to look at, count nothing.

    Memory that several of them share counts once for each: to tell them apart costs the kernel a walk through all
    pages.
    """
    held = resident = 0
    for pid in pids:
        fields = _fields(proc / str(pid) / "status")
        held += fields.get("RssAnon", 0) + fields.get("RssShmem", 0)
        resident += fields.get("VmRSS", 0)
    return ProcessMemory(held, resident)


def _fields(file: Path, unit: int = _KIB) -> dict[str, int]:
    """The numbers of a file of lines such as ``MemTotal: 16 kB`` or ``inactive_file 16``, in bytes."""
    found: dict[str, int] = {}
    with suppress(OSError):
        for name, _, value in (line.partition(" ") for line in file.read_text().replace("\t", " ").splitlines()):
            number = value.split()[:1]
            if number and number[0].isdecimal():
                found[name.removesuffix(":")] = int(number[0]) * unit
    return found


def _whole(file: Path) -> int | None:
    """A number of a control group; None for ``max``, and where there is no such file (the top, or no controller)."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
