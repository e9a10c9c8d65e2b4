"""What the scheduler knows: plain data, the phases of an instance, and the rules that hold between events.

Theory. An instance is one run of a model's process; a model has at most one at a time. It lives through

    STARTING  launched, not ready yet; holds its memory, serves nobody
    READY     the readiness probe succeeded; every request for the model gets a lease at once
    DRAINING  must leave: what it serves goes on, newcomers queue; ends in STOPPING, or in READY when the need is gone
    STOPPING  asked to end; its memory is held until the exit is confirmed
    GONE      exited; not stored, only the target of the last transition

``TRANSITIONS`` is the whole truth about these steps. Another step is a defect of the scheduler and raises
:class:`InvalidTransition`; a refusal that a user can cause is data (``RejectRequest``), never an exception.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from llama_swap.scheduler.commands import RejectReason, StopCause
from llama_swap.scheduler.policy.queue import Rank, rank
from llama_swap.scheduler.policy.ruling import Policy
from llama_swap.scheduler.spec import ModelSpec, SchedulerSpec

if TYPE_CHECKING:
    from llama_swap.scheduler.story import Recording


class Phase(StrEnum):
    """Where an instance is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    GONE = "gone"


TRANSITIONS: Mapping[Phase, frozenset[Phase]] = {
    Phase.STARTING: frozenset({Phase.READY, Phase.STOPPING, Phase.GONE}),
    Phase.READY: frozenset({Phase.DRAINING, Phase.STOPPING, Phase.GONE}),
    Phase.DRAINING: frozenset({Phase.READY, Phase.STOPPING, Phase.GONE}),
    Phase.STOPPING: frozenset({Phase.GONE}),
    Phase.GONE: frozenset(),
}


class InvalidTransition(Exception):  # noqa: N818 - the design names it; it reports a defect, not an error of a caller
    """An instance was about to take a step that the table does not allow: a defect of the scheduler.

    Attributes:
        recording: what led to it, replayable with ``replay``; None outside of ``Scheduler.handle``.
    """

    def __init__(self, model: str, before: Phase, after: Phase) -> None:
        super().__init__(f"{model} cannot go from {before} to {after}")
        self.recording: Recording | None = None


@dataclass(frozen=True, slots=True)
class Waiter:
    """A request without a lease."""

    request_id: int
    model: str
    arrived_at: float


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

    @property
    def used_at(self) -> float:
        """When it was of use last: the end of its last lease, or its becoming ready or its start if that is later."""
        begin = self.since if self.ready_at is None else self.ready_at
        return begin if self.last_used is None else max(begin, self.last_used)

    @property
    def unload_at(self) -> float | None:
        """When it has been idle for its ttl: counted from the later of ready and the end of its last lease."""
        if self.phase is not Phase.READY or self.leases or not self.spec.ttl_seconds:
            return None
        return self.used_at + self.spec.ttl_seconds

    @property
    def deadline(self) -> float | None:
        """When its phase ends by time alone: start time-out, idle time-out or the end of the grace period."""
        if self.phase is Phase.READY:
            return self.unload_at
        if self.phase is Phase.STARTING:
            return self.since + self.spec.start_timeout_seconds if self.spec.start_timeout_seconds else None
        if self.phase is Phase.STOPPING and self.killed_at is None:
            return self.since + self.spec.stop_grace_seconds
        return None


@dataclass(frozen=True, slots=True)
class Move:
    """A step of an instance; the draining and undoing of it are decisions without a command."""

    model: str
    instance_id: int
    phase: Phase
    because: str


@dataclass(slots=True)
class Failures:
    """The failed starts in a row of a model; forgotten when a request is served or the model's command changes."""

    count: int = 0
    last: str = ""
    next_try_at: float | None = None


@dataclass(frozen=True, slots=True)
class Dismissal:
    """What all waiters of a model are yet to be told."""

    reason: RejectReason
    message: str
    because: str


@dataclass(slots=True)
class State:
    """Everything the scheduler knows.

    Attributes:
        now: the time of the last event.
        instances: by model; there is never a second one.
        queue: the waiters of each model in the order of arrival; a model without waiters has no entry.
        waiters, leases: where each live request is; never in both.
        newcomers: requests that arrived and are not decided yet; empty between events.
        dismissals: models whose waiters must be refused; empty between events.
        moves: the steps that instances took at the last event.
        closing_since: when the shutdown was asked for.
        calm_until: until then ready models may be used without anything to decide; minus infinity while somebody waits
            or an instance has to leave. It makes the frequent case cheap and is never later than the truth.
    """

    spec: SchedulerSpec
    policy: Policy
    now: float = 0.0
    instances: dict[str, Instance] = field(default_factory=dict)
    queue: dict[str, dict[int, Waiter]] = field(default_factory=dict)
    waiters: dict[int, Waiter] = field(default_factory=dict)
    leases: dict[int, Instance] = field(default_factory=dict)
    failures: dict[str, Failures] = field(default_factory=dict)
    newcomers: list[Waiter] = field(default_factory=list)
    dismissals: dict[str, Dismissal] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    closing_since: float | None = None
    last_instance_id: int = 0
    calm_until: float = -math.inf

    def instance_by_id(self, instance_id: int) -> Instance | None:
        """The living instance with this ID; None for a dead or unknown one."""
        return next((i for i in self.instances.values() if i.instance_id == instance_id), None)

    def is_current(self, instance: Instance) -> bool:
        """Whether the configuration in force would start the same process."""
        return self.spec.models.get(instance.model) is instance.spec

    def move(self, instance: Instance, phase: Phase, because: str, now: float) -> None:
        """Let an instance take one step of the table.

        Raises:
            InvalidTransition: the table has no such step.
        """
        if phase not in TRANSITIONS[instance.phase]:
            raise InvalidTransition(instance.model, instance.phase, phase)
        instance.phase, instance.because, instance.since = phase, because, now
        self.moves.append(Move(instance.model, instance.instance_id, phase, because))

    def enqueue(self, waiter: Waiter) -> None:
        """Let a request wait."""
        self.queue.setdefault(waiter.model, {})[waiter.request_id] = waiter
        self.waiters[waiter.request_id] = waiter
        self.calm_until = -math.inf

    def dequeue(self, waiter: Waiter) -> None:
        """Take a request out of the queue."""
        del self.waiters[waiter.request_id]
        line = self.queue[waiter.model]
        del line[waiter.request_id]
        if not line:
            del self.queue[waiter.model]

    def first_waiter(self, model: str) -> Waiter | None:
        """The waiter of a model that has waited longest."""
        line = self.queue.get(model)
        return next(iter(line.values())) if line else None

    def rank(self, waiter: Waiter) -> Rank:
        """Its place in the order of the queue; the smaller goes first."""
        return rank(waiter, self.spec.models[waiter.model].priority, self.spec.limits.max_wait_seconds)

    def needs_start(self, model: str) -> bool:
        """Whether a waiter of the model needs an instance that is yet to be started."""
        instance = self.instances.get(model)
        return instance is None or instance.phase is Phase.STOPPING or not self.is_current(instance)

    def is_overdue(self, waiter: Waiter, now: float) -> bool:
        """Whether it has waited so long that what is in its way must be drained."""
        longest = self.spec.limits.max_wait_seconds
        return longest > 0 and waiter.arrived_at + longest <= now

    def lease(self, request_id: int, instance: Instance) -> None:
        """Note that an instance serves a request from now on."""
        self.leases[request_id] = instance
        instance.leases.add(request_id)

    def remove(self, instance: Instance) -> None:
        """Forget an instance that exited, with its leases: those requests end by themselves."""
        del self.instances[instance.model]
        for request_id in instance.leases:
            del self.leases[request_id]
        instance.leases.clear()

    def lines(self) -> Iterator[Waiter]:
        """The longest waiting request of each model, in the order of the queue."""
        heads = (next(iter(line.values())) for line in self.queue.values())
        return iter(sorted(heads, key=self.rank))

    def copy(self) -> "State":
        """An independent copy, so that what follows can be replayed from here."""
        instances = {m: replace(i, leases=set(i.leases)) for m, i in self.instances.items()}
        return replace(
            self,
            instances=instances,
            queue={model: dict(line) for model, line in self.queue.items()},
            waiters=dict(self.waiters),
            leases={request_id: instances[i.model] for request_id, i in self.leases.items()},
            failures={model: replace(f) for model, f in self.failures.items()},
            newcomers=list(self.newcomers),
            dismissals=dict(self.dismissals),
            moves=[],
        )
