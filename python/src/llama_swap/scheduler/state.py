"""Everything the scheduler knows, as plain data, and the questions that more than one part asks about it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from llama_swap.scheduler.commands import RejectReason
from llama_swap.scheduler.events import NO_TERMS, RequestArrived, Terms
from llama_swap.scheduler.instance import READY, TRANSITIONS, Instance, Phase
from llama_swap.scheduler.ledger import Memory
from llama_swap.scheduler.memory import Need
from llama_swap.scheduler.policy.queue import Rank, rank
from llama_swap.scheduler.policy.ruling import Policy
from llama_swap.scheduler.shares import Fading, Tab
from llama_swap.scheduler.spec import SchedulerSpec

if TYPE_CHECKING:
    from llama_swap.scheduler.story import Recording

__all__ = [
    "READY",
    "TRANSITIONS",
    "Assessed",
    "Dismissal",
    "Failures",
    "Instance",
    "InvalidTransition",
    "Move",
    "Phase",
    "State",
    "Waiter",
    "Yielding",
]


class InvalidTransition(Exception):  # noqa: N818 - the design names it; it reports a defect, not an error of a caller
    """An instance was about to take a step that the table does not allow: a defect of the scheduler.

    Attributes:
        recording: what led to it, replayable with ``replay``; None outside of ``Scheduler.handle``.
    """

    def __init__(self, model: str, before: Phase, after: Phase) -> None:
        super().__init__(f"{model} cannot go from {before} to {after}")
        self.recording: Recording | None = None


class Waiter(NamedTuple):
    """A request without a lease.

    Attributes:
        penalty_seconds: by how much later it counts as arrived, because its caller had more than its share.
        trusts_since: it may be refused on readings that began since then; None: since its arrival.
    """

    request_id: int
    model: str
    arrived_at: float
    terms: Terms = NO_TERMS
    penalty_seconds: float = 0.0
    trusts_since: float | None = None

    @property
    def is_content_with(self) -> float:
        """The earliest beginning of a reading that it may be refused on."""
        return self.arrived_at if self.trusts_since is None else self.trusts_since


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
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Assessed:
    """What a model needs, as was found out.

    Attributes:
        is_spent: an instance was started with it and is gone: the next start asks anew, since files change.
        is_raised: memory ran out with the figure of before; this one is tried, alone on the devices, and then no more.
    """

    fingerprint: str
    need: Need
    is_spent: bool = False
    is_raised: bool = False


@dataclass(frozen=True, slots=True)
class Yielding:
    """Devices that are left to other programs.

    Attributes:
        devices: UUIDs or numbers; () is all.
        since: when it began; the time to drain counts from there.
        until: None until somebody ends it.
    """

    holder: str
    devices: tuple[str, ...]
    since: float
    until: float | None
    because: str


@dataclass(slots=True)
class State:
    """Everything the scheduler knows.

    Attributes:
        now: the time of the last event.
        instances: by model; there is never a second one.
        queue: the waiters of each model in the order of arrival; a model without waiters has no entry.
        waiters, leases: where each live request is; never in both.
        newcomer: a request that arrived and is not decided yet, a waiter if it is special; None between events.
        dismissals: models whose waiters must be refused; empty between events.
        moves: the steps that instances took at the last event.
        memory: the readings.
        needs: what each model needs, as last found out.
        assessing: the models whose need is being found out, with the fingerprints that were asked about.
        pins: what was said at run time about pinning, in place of the configuration.
        yields: by holder.
        returning: models that start by themselves -> from when; pinned ones that a yield has stopped, and those that
            could not be loaded with the service; until they are ready, or somebody wants something else.
        read_ahead: waiting models whose file is read ahead, or was.
        uses: how much each model was used lately.
        loads: how long each model took to load, seconds.
        shares: how long each caller was served lately; only kept where shares are to be fair.
        tabs: whose share a lease is taken from, and since when.
        heads: the first in line of each model; only a memory, it says nothing that the queue does not.
        closing_since: when the shutdown was asked for.
        calm_until: until then ready models may be used without anything to decide, unless one becomes idle whose place
            is wanted: who uses it is in the way of others all the more. It is never later than the truth.
    """

    spec: SchedulerSpec
    policy: Policy
    now: float = 0.0
    instances: dict[str, Instance] = field(default_factory=dict)
    queue: dict[str, dict[int, Waiter]] = field(default_factory=dict)
    waiters: dict[int, Waiter] = field(default_factory=dict)
    leases: dict[int, Instance] = field(default_factory=dict)
    failures: dict[str, Failures] = field(default_factory=dict)
    newcomer: RequestArrived | Waiter | None = None
    dismissals: dict[str, Dismissal] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    needs: dict[str, Assessed] = field(default_factory=dict)
    assessing: set[tuple[str, str]] = field(default_factory=set)
    pins: dict[str, bool] = field(default_factory=dict)
    yields: dict[str, Yielding] = field(default_factory=dict)
    returning: dict[str, float] = field(default_factory=dict)
    read_ahead: frozenset[str] = frozenset()
    uses: dict[str, Fading] = field(default_factory=dict)
    loads: dict[str, float] = field(default_factory=dict)
    shares: dict[str, Fading] = field(default_factory=dict)
    tabs: dict[int, Tab] = field(default_factory=dict)
    heads: dict[str, Waiter] = field(default_factory=dict, compare=False, repr=False)
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

    @property
    def is_ruled_by_memory(self) -> bool:
        """Whether memory decides who may run beside whom, in place of the groups or the matrix."""
        fit = self.spec.fit
        return fit is not None and (not fit.when_measured or self.memory.has_devices)

    def is_pinned(self, model: str) -> bool:
        """Whether a model is neither evicted nor unloaded for being idle."""
        said = self.pins.get(model)
        spec = self.spec.models.get(model)
        return said if said is not None else spec is not None and spec.pin

    def enqueue(self, waiter: Waiter) -> None:
        """Let a request wait."""
        self.queue.setdefault(waiter.model, {})[waiter.request_id] = waiter
        self.waiters[waiter.request_id] = waiter
        head = self.heads.get(waiter.model)
        if head is not None and self.rank(waiter) < self.rank(head):
            del self.heads[waiter.model]
        self.calm_until = -math.inf

    def dequeue(self, waiter: Waiter) -> None:
        """Take a request out of the queue."""
        del self.waiters[waiter.request_id]
        line = self.queue[waiter.model]
        del line[waiter.request_id]
        if not line:
            del self.queue[waiter.model]
        if self.heads.get(waiter.model) is waiter:
            del self.heads[waiter.model]

    def first_waiter(self, model: str) -> Waiter | None:
        """The waiter of a model that goes first."""
        line = self.queue.get(model)
        if not line:
            return None
        head = self.heads.get(model)
        if head is None:
            head = self.heads[model] = min(line.values(), key=self.rank)
        return head

    def oldest_waiter(self, model: str) -> Waiter:
        """The waiter of a model that has waited longest."""
        return next(iter(self.queue[model].values()))

    def rank(self, waiter: Waiter) -> Rank:
        """Its place in the order of the queue; the smaller goes first."""
        priority = self.spec.models[waiter.model].priority + waiter.terms.priority
        return rank(waiter, priority, self.spec.limits.max_wait_seconds, waiter.penalty_seconds)

    def needs_start(self, model: str) -> bool:
        """Whether a waiter of the model needs an instance that is yet to be started."""
        instance = self.instances.get(model)
        if instance is None or instance.is_leaving:
            return True
        return instance.is_yielded or not self.is_current(instance)

    def returns_now(self, model: str, now: float) -> bool:
        """Whether a model is to start although nobody may wait for it, as soon as it can."""
        at = self.returning.get(model)
        return at is not None and at <= now and self.needs_start(model)

    def is_overdue(self, since: float, now: float) -> bool:
        """Whether who waits since then has waited so long that what is in its way must be drained."""
        longest = self.spec.limits.max_wait_seconds
        return longest > 0 and since + longest <= now

    def part(self, instance: Instance) -> None:
        """Forget the leases of an instance that exited: those requests end by themselves."""
        for request_id in instance.leases:
            del self.leases[request_id]
            self.tabs.pop(request_id, None)
        instance.leases.clear()

    def remove(self, instance: Instance) -> None:
        """Forget an instance of which nothing is left."""
        del self.instances[instance.model]
        assessed = self.needs.get(instance.model)
        if assessed is not None and not assessed.is_raised:
            self.needs[instance.model] = replace(assessed, is_spent=True)

    def lines(self) -> Iterator[Waiter]:
        """The first in line of each model, in the order of the queue."""
        heads = (head for model in self.queue if (head := self.first_waiter(model)) is not None)
        return iter(sorted(heads, key=self.rank))

    def copy(self) -> "State":
        """An independent copy, so that what follows can be replayed from here."""
        instances = {m: i.copy() for m, i in self.instances.items()}
        return replace(
            self,
            instances=instances,
            queue={model: dict(line) for model, line in self.queue.items()},
            waiters=dict(self.waiters),
            leases={request_id: instances[i.model] for request_id, i in self.leases.items()},
            failures={model: replace(f) for model, f in self.failures.items()},
            dismissals=dict(self.dismissals),
            moves=[],
            memory=self.memory.copy(),
            needs=dict(self.needs),
            assessing=set(self.assessing),
            pins=dict(self.pins),
            yields=dict(self.yields),
            returning=dict(self.returning),
            uses={model: replace(use) for model, use in self.uses.items()},
            loads=dict(self.loads),
            shares={caller: replace(share) for caller, share in self.shares.items()},
            tabs=dict(self.tabs),
            heads=dict(self.heads),
        )
