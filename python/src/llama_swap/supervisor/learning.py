"""What runs teach: how much memory a model took at most and how long it loaded, told to the store of figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llama_swap.footprint.learned import RunFigures
from llama_swap.gpu import MemoryReading
from llama_swap.scheduler.memory import UNKNOWN_NEED, Need, NeedSource
from llama_swap.supervisor.memory import ON_DEVICES_BYTES, device_room, device_use, host_use, use_by_others
from llama_swap.supervisor.ports import KeepsFigures

_WORTH_NOTING_BYTES = 32 << 20
_MORE_THAN_NEEDED = 1.2
_MORE_THAN_SEEN = 1.1
_UNKNOWN_BUT_MUCH_BYTES = 512 << 20
"""Of one whose need is unknown: that the use of devices grew by so much with its start was hardly somebody else."""


@dataclass(slots=True)
class Run:
    """One instance as it is learned from.

    Attributes:
        identity: by which its figures are kept; None until it is known.
        need: what it was expected to take; None where nobody asked.
        was_read_ahead: its file was brought into memory before.
        peaks: pool -> the most bytes that were seen.
        noted: the same as they were recorded last; None before.
        others_before_bytes: what was used of the devices when it started, and was not seen to be ours.
        room_bytes: what was free of the devices that it could see when it started.
        is_hidden: it has memory of devices that is not seen to be its own, so that it teaches nothing about memory.
    """

    started_at: float
    need: Need | None = None
    was_read_ahead: bool = False
    identity: str | None = None
    ready_at: float | None = None
    peaks: dict[str, int] = field(default_factory=dict)
    host_bytes: int = 0
    noted: Mapping[str, int] | None = None
    noted_host_bytes: int = 0
    others_before_bytes: int = 0
    room_bytes: int = 0
    is_hidden: bool = False


class Learning:
    """Follows all living instances, by their IDs."""

    def __init__(self, figures: KeepsFigures) -> None:
        self._figures = figures
        self._runs: dict[int, Run] = {}
        self._device_bytes: int | None = None
        self._host_bytes: int | None = None
        self._others_bytes: int | None = None
        self._free_bytes: dict[str, int] = {}

    def started(self, instance_id: int, run: Run, devices: Sequence[str] = ()) -> None:
        """A process is about to start that sees these devices, () all."""
        run.room_bytes = sum(self._free_bytes.get(pool, 0) for pool in devices or self._free_bytes)
        run.others_before_bytes = self._others_bytes or 0
        self._runs[instance_id] = run

    @property
    def hidden(self) -> frozenset[int]:
        """The instances whose memory is not seen to be theirs (containers without a name, drivers that list nobody)."""
        return frozenset(instance_id for instance_id, run in self._runs.items() if run.is_hidden)

    def is_ready(self, instance_id: int, at: float) -> None:
        """It serves now; what it took is known with the first reading from here on."""
        run = self._runs.get(instance_id)
        if run is not None:
            run.ready_at = at

    def seen(self, reading: MemoryReading) -> bool:
        """Take what instances have now; whether that is news worth keeping."""
        news = False
        self._device_bytes = sum(device.total_bytes or 0 for device in reading.devices) or None
        self._host_bytes = None if reading.host is None else reading.host.total_bytes
        self._others_bytes = use_by_others(reading)
        self._free_bytes = device_room(reading)
        for instance_id, run in self._runs.items():
            if instance_id not in reading.holdings:
                continue
            for pool, used in device_use(reading, instance_id).items():
                run.peaks[pool] = max(used, run.peaks.get(pool, 0))
            run.host_bytes = max(run.host_bytes, host_use(reading, instance_id).needed_bytes)
            if run.ready_at is None or reading.at < run.ready_at:
                continue
            run.is_hidden = self._is_hidden(run)
            if _has_grown(run):
                self._record(run)
                news = True
        return news

    def ended(self, instance_id: int, *, out_of_memory: bool, said_so: bool = False) -> None:
        """It is gone; one that ran out of memory gets more the next time.

        Args:
            instance_id: which one.
            out_of_memory: that is why.
            said_so: it complained, as those do that a device refuses memory; the kernel ends one without a word.
        """
        run = self._runs.pop(instance_id, None)
        if run is None or run.identity is None:
            return
        self._record(run)
        if out_of_memory:
            need = run.need or UNKNOWN_NEED
            device = _more_than(need.device_bytes, sum(run.peaks.values()), self._device_bytes)
            if need.source is NeedSource.UNKNOWN and run.ready_at is None:
                device = self._room_of(run) if said_so else 0
            # One that uses no device ran out of the machine's memory.
            host = 0 if device else _more_than(need.host_bytes, run.host_bytes, self._host_bytes)
            self._figures.raise_(run.identity, device, host)

    def _room_of(self, run: Run) -> int:
        """What one had of the devices that loaded alone: all that was free, less what others took meanwhile."""
        return max(0, run.room_bytes - max(0, (self._others_bytes or 0) - run.others_before_bytes))

    def _is_hidden(self, run: Run) -> bool:
        """By the first reading of one that is ready; one that is seen on a device after all is not."""
        if self._others_bytes is None or sum(run.peaks.values()) > ON_DEVICES_BYTES:
            return False
        if run.noted is not None:
            return run.is_hidden
        need = run.need or UNKNOWN_NEED
        grown = self._others_bytes - run.others_before_bytes
        if need.source is NeedSource.UNKNOWN:
            return grown >= _UNKNOWN_BUT_MUCH_BYTES
        expected = need.least.device_bytes if need.least_bytes is None else need.least_bytes
        return expected > ON_DEVICES_BYTES and (need.source is NeedSource.DECLARED or grown >= expected / 2)

    def _record(self, run: Run) -> None:
        if run.identity is None or run.ready_at is None:
            return
        is_first = run.noted is None
        run.noted, run.noted_host_bytes = dict(run.peaks), run.host_bytes
        figures = RunFigures(
            by_device={} if run.is_hidden else {pool: used for pool, used in run.peaks.items() if used},
            host_bytes=0 if run.is_hidden else run.host_bytes,
            load_seconds=run.ready_at - run.started_at if is_first else None,
            read_ahead=run.was_read_ahead,
        )
        self._figures.record(run.identity, figures)


def _more_than(expected: int, seen: int, most: int | None) -> int:
    """More than that, but never more than there is in all (None is not known)."""
    more = int(max(expected * _MORE_THAN_NEEDED, seen * _MORE_THAN_SEEN))
    return more if most is None else min(more, most)


def _has_grown(run: Run) -> bool:
    if run.noted is None or run.peaks.keys() - run.noted.keys():
        return True
    more = [used - run.noted.get(pool, 0) for pool, used in run.peaks.items()]
    return max((*more, run.host_bytes - run.noted_host_bytes)) >= _WORTH_NOTING_BYTES
