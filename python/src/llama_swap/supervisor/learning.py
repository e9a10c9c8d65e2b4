"""What runs teach: how much memory a model took at most and how long it loaded, told to the store of figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from llama_swap.footprint.learned import RunFigures
from llama_swap.gpu import MemoryReading
from llama_swap.scheduler.memory import UNKNOWN_NEED, Need
from llama_swap.supervisor.memory import device_use, host_use
from llama_swap.supervisor.ports import KeepsFigures

_WORTH_NOTING_BYTES = 32 << 20
_MORE_THAN_NEEDED = 1.2
_MORE_THAN_SEEN = 1.1


@dataclass(slots=True)
class Run:
    """One instance as it is learned from.

    Attributes:
        identity: by which its figures are kept; None until it is known.
        need: what it was expected to take; None where nobody asked.
        was_read_ahead: its file was brought into memory before.
        peaks: pool -> the most bytes that were seen.
        noted: the same as they were recorded last; None before.
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


class Learning:
    """Follows all living instances, by their IDs."""

    def __init__(self, figures: KeepsFigures) -> None:
        self._figures = figures
        self._runs: dict[int, Run] = {}
        self._device_bytes: int | None = None
        self._host_bytes: int | None = None

    def started(self, instance_id: int, run: Run) -> None:
        """A process is about to start."""
        self._runs[instance_id] = run

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
        for instance_id, run in self._runs.items():
            if instance_id not in reading.holdings:
                continue
            for pool, used in device_use(reading, instance_id).items():
                run.peaks[pool] = max(used, run.peaks.get(pool, 0))
            run.host_bytes = max(run.host_bytes, host_use(reading, instance_id).needed_bytes)
            if run.ready_at is not None and reading.at >= run.ready_at and _has_grown(run):
                self._record(run)
                news = True
        return news

    def ended(self, instance_id: int, *, out_of_memory: bool) -> None:
        """It is gone; one that ran out of memory gets more the next time."""
        run = self._runs.pop(instance_id, None)
        if run is None or run.identity is None:
            return
        self._record(run)
        if out_of_memory:
            need = run.need or UNKNOWN_NEED
            device = _more_than(need.device_bytes, sum(run.peaks.values()), self._device_bytes)
            # One that uses no device ran out of the machine's memory.
            host = 0 if device else _more_than(need.host_bytes, run.host_bytes, self._host_bytes)
            self._figures.raise_(run.identity, device, host)

    def _record(self, run: Run) -> None:
        if run.identity is None or run.ready_at is None:
            return
        is_first = run.noted is None
        run.noted, run.noted_host_bytes = dict(run.peaks), run.host_bytes
        figures = RunFigures(
            by_device={pool: used for pool, used in run.peaks.items() if used},
            host_bytes=run.host_bytes,
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
