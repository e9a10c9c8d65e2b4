"""One run of a model's process: its phases, its requests and the memory that is promised to it.

Theory. A model has at most one instance at a time. It lives through

    STARTING   launched, not ready yet; holds its memory, serves nobody
    READY      the readiness probe succeeded; every request for the model gets a lease at once
    DRAINING   must leave: what it serves goes on, newcomers queue; ends in STOPPING, or in READY when the need is gone
    STOPPING   asked to end; its memory is held until the exit is confirmed
    RELEASING  exited; the driver has not given back its memory yet
    GONE       exited; not stored, only the target of the last transition

``TRANSITIONS`` is the whole truth about these steps. Another step is a defect of the scheduler and raises
``InvalidTransition``; a refusal that a user can cause is data (``RejectRequest``), never an exception.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from llama_swap.scheduler.commands import StopCause
from llama_swap.scheduler.memory import Level
from llama_swap.scheduler.spec import ModelSpec


class Phase(StrEnum):
    """Where an instance is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    RELEASING = "releasing"
    GONE = "gone"


READY = Phase.READY
"""For what every request asks: Python 3.11 looks a member up five times more slowly than a name."""

TRANSITIONS: Mapping[Phase, frozenset[Phase]] = {
    Phase.STARTING: frozenset({Phase.READY, Phase.STOPPING, Phase.RELEASING, Phase.GONE}),
    Phase.READY: frozenset({Phase.DRAINING, Phase.STOPPING, Phase.RELEASING, Phase.GONE}),
    Phase.DRAINING: frozenset({Phase.READY, Phase.STOPPING, Phase.RELEASING, Phase.GONE}),
    Phase.STOPPING: frozenset({Phase.RELEASING, Phase.GONE}),
    Phase.RELEASING: frozenset({Phase.GONE}),
    Phase.GONE: frozenset(),
}


@dataclass(slots=True)
class Claims:
    """The memory that one instance holds or was promised, pool by pool, in bytes.

    Attributes:
        reserved: what it was promised at its start.
        is_reserved: memory decided about that, even if it was promised nothing.
        held: what its processes kept from being free at the last reading.
        levels: how full a device was at that reading.
        fallen: ``held`` and ``levels`` of the reading before, where it held much more then.
        peak: the most that it held, or needed besides what it held, at any reading.
        measured: the pools with a reading that began after it was ready and says who has what.
        last: what it held at its exit; counts in place of all else from then on.
    """

    reserved: dict[str, int] = field(default_factory=dict)
    is_reserved: bool = False
    held: dict[str, int] = field(default_factory=dict)
    levels: dict[str, Level] = field(default_factory=dict)
    fallen: dict[str, tuple[int, Level]] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    measured: frozenset[str] = frozenset()
    last: dict[str, int] | None = None

    def is_known(self, pools: Collection[str]) -> bool:
        """Whether anything is known about what it holds of these pools."""
        return self.is_reserved or self.last is not None or not self.measured.isdisjoint(pools)

    def of(self, pool: str) -> int:
        """What it holds or may still take of one pool.

        What was promised counts until it has been seen at work, because memory is taken little by little while a model
        loads. From then on the measured peak counts, which is what it comes back to with the next request.
        """
        if self.last is not None:
            return self.last.get(pool, 0)
        peak = self.peak.get(pool, 0)
        return peak if pool in self.measured else max(peak, self.reserved.get(pool, 0))

    def all(self) -> dict[str, int]:
        """The same for every pool of which it has anything."""
        pools = {**self.reserved, **self.peak} if self.last is None else self.last
        return {pool: size for pool in pools if (size := self.of(pool))}

    def copy(self) -> "Claims":
        """An independent copy."""
        return replace(
            self,
            reserved=dict(self.reserved),
            held=dict(self.held),
            levels=dict(self.levels),
            fallen=dict(self.fallen),
            peak=dict(self.peak),
            last=None if self.last is None else dict(self.last),
        )


@dataclass(slots=True)
class Instance:
    """One run of a model's process.

    Attributes:
        spec: what it was started with; the scheduler's current one as long as the fingerprint is the same.
        because: why it is in its phase.
        since: when it entered its phase.
        leases: the requests it serves.
        served: how many requests its upstream has answered.
        doom: why it must stop now, requests in service or not; None while it need not.
        is_pinned: neither evicted nor unloaded for being idle.
        is_yielded: its devices are left to others; it goes as soon as it can.
        is_looked_at: memory was read after it became ready.
        keep_alive_seconds: idle time after which it is unloaded, in place of the ttl, if a request named one.
        devices: the devices it was confined to; () is none in particular.
        is_alone: it was started beside nobody who could leave, because what it needs was not known for sure.
        release_by: when its memory counts as lost if it has not come back until then; None before its exit.
        before: how full each device was before its start.
        roof: how full each device is at most once most of its memory is back.
        risen: device -> bytes that others did not use at the last reading after its exit, or took since.
    """

    instance_id: int
    model: str
    spec: ModelSpec
    because: str
    since: float
    phase: Phase = Phase.STARTING
    ready_at: float | None = None
    last_used: float | None = None
    leases: set[int] = field(default_factory=set)
    served: int = 0
    doom: str | None = None
    doom_cause: StopCause = StopCause.UNLOADED
    killed_at: float | None = None
    is_pinned: bool = False
    is_yielded: bool = False
    is_looked_at: bool = False
    keep_alive_seconds: float | None = None
    devices: tuple[str, ...] = ()
    is_alone: bool = False
    claims: Claims = field(default_factory=Claims)
    release_by: float | None = None
    before: dict[str, Level] = field(default_factory=dict)
    roof: dict[str, Level] = field(default_factory=dict)
    risen: dict[str, int] = field(default_factory=dict)

    @property
    def is_leaving(self) -> bool:
        """Whether it is on its way out, whatever happens."""
        return self.phase in (Phase.STOPPING, Phase.RELEASING)

    @property
    def used_at(self) -> float:
        """When it was of use last: the end of its last lease, or its becoming ready or its start if that is later."""
        begin = self.since if self.ready_at is None else self.ready_at
        return begin if self.last_used is None else max(begin, self.last_used)

    @property
    def idle_seconds(self) -> float | None:
        """How long it stays while nobody uses it; None is for ever."""
        if self.is_pinned:
            return None
        if self.keep_alive_seconds is not None:
            return self.keep_alive_seconds if self.keep_alive_seconds < math.inf else None
        return self.spec.ttl_seconds or None

    @property
    def unload_at(self) -> float | None:
        """When it has been idle for long enough: counted from the later of ready and the end of its last lease."""
        if self.leases or self.phase is not Phase.READY:
            return None
        idle = self.idle_seconds
        return None if idle is None else self.used_at + idle

    @property
    def deadline(self) -> float | None:
        """When its phase ends by time alone: start time-out, idle time-out, grace period, or lost memory."""
        match self.phase:
            case Phase.READY:
                return self.unload_at
            case Phase.STARTING if self.spec.start_timeout_seconds:
                return self.since + self.spec.start_timeout_seconds
            case Phase.STOPPING if self.killed_at is None:
                return self.since + self.spec.stop_grace_seconds
            case Phase.RELEASING:
                return self.release_by
        return None

    def copy(self) -> "Instance":
        """An independent copy."""
        return replace(
            self, leases=set(self.leases), claims=self.claims.copy(), roof=dict(self.roof), risen=dict(self.risen)
        )
