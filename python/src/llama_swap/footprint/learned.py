"""What was seen of models while they ran, kept from one life of the service to the next.

One file of JSON, replaced as a whole, so that a crash leaves the old or the new one. A file that cannot be understood
is put aside and a new one begun: figures are learnt again, and nothing else depends on them. Several services may share
a file: each takes over what the others wrote when it writes itself.
"""

import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import msgspec

VERSION = 1
MAX_ENTRIES = 500
MAX_FILE_BYTES = 16 << 20
NEWEST_SHARE = 0.3
"""Of a load time in the average; the older ones count ever less."""
MAX_FLOOR_RATIO = 4

Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What one run of a model took, so far or altogether.

    Attributes:
        by_device: pool -> the most bytes that it held there at once.
        host_bytes: the most that it held of the machine's memory.
        load_seconds: from start to ready; None unless this is said now for the first time.
        read_ahead: its files had been read into memory before.
    """

    by_device: Mapping[str, int] = field(default_factory=dict)
    host_bytes: int = 0
    load_seconds: float | None = None
    read_ahead: bool = False


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that was held on a number of devices.

    Attributes:
        total_bytes: over all of them together.
        by_device: on each of those of the last run.
    """

    total_bytes: Bytes
    by_device: dict[str, Bytes]


@dataclass(frozen=True, slots=True)
class AskedDevice:
    """One line of what llama.cpp said: a device, or its word ``Host``."""

    name: str
    model_bytes: Bytes
    context_bytes: Bytes
    compute_bytes: Bytes

    @property
    def total_bytes(self) -> int:
        """All three together."""
        return self.model_bytes + self.context_bytes + self.compute_bytes


@dataclass(frozen=True, slots=True)
class Learned:
    """All that is known of an identity.

    Attributes:
        seen: when it was last written to, in seconds since 1970.
        peaks: number of devices (as text, for JSON) -> the most that was held.
        floor_bytes, floor_host_bytes: what the next start shall have at least, because a run had too little.
        cold_seconds, ahead_seconds: from start to ready, averaged, without and with its files read ahead.
        asked: what llama.cpp said, the host last; () is nothing yet.
    """

    seen: float = 0.0
    peaks: dict[str, Peak] = field(default_factory=dict)
    host_bytes: Bytes = 0
    floor_bytes: Bytes = 0
    floor_host_bytes: Bytes = 0
    cold_seconds: Seconds | None = None
    ahead_seconds: Seconds | None = None
    asked: tuple[AskedDevice, ...] = ()

    @property
    def has_run(self) -> bool:
        """Whether anything was measured."""
        return bool(self.peaks) or self.host_bytes > 0

    @property
    def load_seconds(self) -> float | None:
        """From start to ready without preparation, as far as is known."""
        return self.ahead_seconds if self.cold_seconds is None else self.cold_seconds


@dataclass(frozen=True, slots=True)
class _Contents:
    """The file."""

    version: int
    entries: dict[str, Learned]


class LearnedStore:
    """The figures of all identities.

    Attributes:
        problem: why the figures of earlier lives are not there, for the log; "" is none.
    """

    def __init__(
        self,
        path: Path | None = None,
        entries: Mapping[str, Learned] | None = None,
        problem: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.problem = problem
        self._path = path
        self._entries = dict(entries or {})
        self._clock = clock
        self._is_dirty = False
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path | None, clock: Callable[[], float] = time.time) -> "LearnedStore":
        """Read the figures of earlier lives; blocks for a moment, raises nothing.

        Args:
            path: the file; its folder is made when it is needed. None keeps everything in memory.
            clock: seconds since 1970.
        """
        if path is None:
            return cls(clock=clock)
        try:
            entries = _read(path)
        except FileNotFoundError:
            return cls(path, clock=clock)
        except OSError as error:
            # What cannot be read must not be overwritten.
            return cls(None, problem=f"learned figures are not kept: {path}: {error.strerror}", clock=clock)
        except ValueError as error:
            return cls(path, problem=_put_aside(path, error), clock=clock)
        return cls(path, entries, clock=clock)

    def lookup(self, identity: str) -> Learned:
        """What is known, which may be nothing."""
        with self._lock:
            return self._entries.get(identity, Learned())

    def record(self, identity: str, figures: RunFigures) -> None:
        """Remember what a run took, at any time of it; peaks only grow."""
        with self._lock:
            known = self._entries.get(identity, Learned())
            self._set(identity, known, _with_figures(known, figures))

    def raise_(self, identity: str, device_bytes: int, host_bytes: int = 0) -> None:
        """Remember that a run had too little, so that the next one gets this much."""
        with self._lock:
            known = self._entries.get(identity, Learned())
            raised = replace(
                known,
                floor_bytes=max(known.floor_bytes, _bounded(device_bytes, _most(known))),
                floor_host_bytes=max(known.floor_host_bytes, _bounded(host_bytes, known.host_bytes)),
            )
            self._set(identity, known, raised)

    def remember_asked(self, identity: str, asked: tuple[AskedDevice, ...]) -> None:
        """Remember what llama.cpp said."""
        with self._lock:
            known = self._entries.get(identity, Learned())
            self._set(identity, known, replace(known, asked=asked))

    def save(self) -> None:
        """Write what is new, and take over what another service has written; blocks.

        Raises:
            OSError: if it cannot be written; it is tried again with the next save.
        """
        if self._path is None or not self._is_dirty:
            return
        with _alone(self._path.parent):
            others = _others(self._path)
            with self._lock:
                for identity, theirs in others.items():
                    if identity not in self._entries or self._entries[identity].seen < theirs.seen:
                        self._entries[identity] = theirs
                self._forget_oldest()
                data = msgspec.json.encode(_Contents(VERSION, self._entries))
                self._is_dirty = False
            try:
                _replace(self._path, data)
            except OSError:
                self._is_dirty = True
                raise

    def _set(self, identity: str, known: Learned, new: Learned) -> None:
        """Take a new value over; the entry that was not seen for longest makes room."""
        if replace(new, seen=known.seen) != known:
            self._is_dirty = True
        self._entries[identity] = replace(new, seen=self._clock())
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._entries) > MAX_ENTRIES:
            del self._entries[min(self._entries, key=lambda one: self._entries[one].seen)]


def _most(known: Learned) -> int:
    return max((peak.total_bytes for peak in known.peaks.values()), default=0)


def _bounded(wanted: int, seen: int) -> int:
    """No floor may grow beyond all measure by one failure after another that had another cause."""
    return min(wanted, seen * MAX_FLOOR_RATIO) if seen else wanted


def _with_figures(known: Learned, figures: RunFigures) -> Learned:
    held = {device: size for device, size in figures.by_device.items() if size > 0}
    peaks = dict(known.peaks)
    if held:
        old = peaks.get(str(len(held)), Peak(0, {}))
        merged = {device: max(size, old.by_device.get(device, 0)) for device, size in held.items()}
        peaks[str(len(held))] = Peak(max(old.total_bytes, sum(held.values())), merged)
    host = max(known.host_bytes, figures.host_bytes)
    new = replace(known, peaks=peaks, host_bytes=host)
    seconds = figures.load_seconds
    if seconds is None:
        return new
    new = replace(new, floor_bytes=_lowered(new.floor_bytes, sum(held.values())))
    new = replace(new, floor_host_bytes=_lowered(new.floor_host_bytes, figures.host_bytes))
    if figures.read_ahead:
        return replace(new, ahead_seconds=_averaged(new.ahead_seconds, seconds))
    return replace(new, cold_seconds=_averaged(new.cold_seconds, seconds))


def _lowered(floor: int, held: int) -> int:
    """A floor after a start that succeeded: half of what was too much is forgotten each time."""
    return (floor + held) // 2 if floor > held > 0 else floor


def _averaged(known: float | None, seconds: float) -> float:
    return seconds if known is None else known + NEWEST_SHARE * (seconds - known)


def _read(path: Path) -> Mapping[str, Learned]:
    """The entries of a file.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: it is damaged, or of another version.
    """
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"it has more than {MAX_FILE_BYTES >> 20} MiB")
    contents = msgspec.json.decode(data, type=_Contents)
    if contents.version != VERSION:
        raise ValueError(f"it has version {contents.version}, not {VERSION}")
    return contents.entries


def _others(path: Path) -> Mapping[str, Learned]:
    """What stands in the file now; nothing where that cannot be understood."""
    try:
        return _read(path)
    except (OSError, ValueError):
        return {}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While no other service writes; where a folder cannot be locked two at once lose a figure at worst."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _put_aside(path: Path, error: ValueError) -> str:
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
    except OSError:
        return f"learned figures begin anew: {path} cannot be used: {error}"
    return f"learned figures begin anew: {path} cannot be used and is now {aside.name}: {error}"


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that after a crash it is the old or the new one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
