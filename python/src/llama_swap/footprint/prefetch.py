"""Read the next model's files into the page cache while others still make room for it.

llama.cpp maps its file and touches it in an order that a disk does not like; read once from front to back before, the
load is then a matter of memory. Only memory that nobody else needs is filled: the free part of the machine's, and of
our control group's, to which the pages are charged.
"""

import asyncio
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 4 << 20
RESERVE_BYTES = 1 << 30
"""What stays free of the machine's memory."""
CHECKED_EVERY_BYTES = 256 << 20
PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Read:
    """What was read ahead.

    Attributes:
        stopped: why not everything; "" when all of it was read.
    """

    bytes_read: int
    seconds: float
    stopped: str = ""


class Room:
    """How many bytes the page cache may still grow by.

    Args:
        reserve_bytes: what stays free.
        proc: ``/proc``.
        cgroups: where cgroup v2 is mounted.
    """

    def __init__(self, reserve_bytes: int = RESERVE_BYTES, proc: Path = PROC, cgroups: Path = CGROUPS) -> None:
        self._reserve = reserve_bytes
        self._proc = proc
        self._cgroups = cgroups

    def free_bytes(self) -> int:
        """What is free of the machine and of every control group above us; 0 where that cannot be known."""
        try:
            available = self._available() - self._reserve
        except (OSError, ValueError, IndexError):
            return 0
        return max(min([available, *self._cgroup_rooms()]), 0)

    def _available(self) -> int:
        for line in (self._proc / "meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
        raise ValueError("no MemAvailable")

    def _cgroup_rooms(self) -> list[int]:
        """Each limit less what is used; the cache of files that nobody uses counts as free, as in MemAvailable."""
        rooms = []
        try:
            name = (self._proc / "self" / "cgroup").read_text(encoding="utf-8").strip().rpartition("::")[2]
        except (OSError, ValueError):
            return []
        group = self._cgroups / name.lstrip("/")
        while group != self._cgroups and self._cgroups in group.parents:
            with suppress(OSError, ValueError):  # no limit here, or none that can be read
                rooms.append(self._room_of(group))
            group = group.parent
        return rooms

    def _room_of(self, group: Path) -> int:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        statistics = dict(line.split() for line in lines)
        return limit - used + int(statistics.get("inactive_file", 0)) - self._reserve


class ReadAhead:
    """Reads files ahead, one set at a time.

    Args:
        reserve_bytes: what stays free of the machine's memory, and of every limit on ours.
        room: where that is read from; for tests.
    """

    def __init__(self, reserve_bytes: int = RESERVE_BYTES, room: Room | None = None) -> None:
        self._room = room or Room(reserve_bytes)
        self._current: threading.Event | None = None
        self._one_at_a_time = asyncio.Lock()

    async def read(self, files: Sequence[Path]) -> Read:
        """Read these files to their ends, as far as there is room; a newer call stops an older one.

        Raises nothing but CancelledError: a file that cannot be read is passed over, its model will say so.
        """
        self.cancel()
        self._current = stop = threading.Event()
        try:
            async with self._one_at_a_time:
                return await asyncio.to_thread(_read_files, tuple(files), self._room.free_bytes, stop)
        finally:
            stop.set()

    def cancel(self) -> None:
        """Stop reading between two chunks."""
        if self._current is not None:
            self._current.set()


@dataclass(slots=True)
class _Progress:
    """How far one reading is.

    Attributes:
        allowed: how many bytes may be read altogether; what has been read counts as free again, so that this may only
            shrink.
    """

    room: Callable[[], int]
    stop: threading.Event
    allowed: int
    read: int = 0
    checked_at: int = 0

    def obstacle(self) -> str:
        """Why the next chunk must not be read; "" is no reason."""
        if self.stop.is_set():
            return "cancelled"
        if self.read >= self.checked_at:
            self.allowed = min(self.allowed, self.read + self.room())
            self.checked_at = self.read + CHECKED_EVERY_BYTES
        return "no room" if self.read + CHUNK_BYTES > self.allowed else ""


def _read_files(files: tuple[Path, ...], room: Callable[[], int], stop: threading.Event) -> Read:
    began = time.monotonic()
    progress = _Progress(room, stop, allowed=room())
    obstacle = ""
    buffer = bytearray(CHUNK_BYTES)
    for path in files:
        try:
            obstacle = _read_file(path, progress, buffer)
        except OSError:
            continue
        if obstacle:
            break
    return Read(progress.read, time.monotonic() - began, obstacle)


def _read_file(path: Path, progress: _Progress, buffer: bytearray) -> str:
    """Read one file; returns why it was not read to its end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while not (obstacle := progress.obstacle()):
            count = os.readv(descriptor, [buffer])
            if not count:
                return ""
            progress.read += count
        return obstacle
    finally:
        os.close(descriptor)
