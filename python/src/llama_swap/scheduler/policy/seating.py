"""Who may start, who must leave first, and who has to wait: one pure function over the waiting and the running.

Candidates are taken in the order of the queue. One whose way is free starts. One whose way holds only idle or leaving
models evicts them, all or none. One that is overdue drains what is in its way. Evicting and draining *claim* the
models concerned: a later candidate that needs one of them, or would have to leave for the claimant, waits. One that
waits without a claim holds nobody back, so the machine is not idle while a stream is finished.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from llama_swap.scheduler.commands import RejectReason
from llama_swap.scheduler.policy.queue import Rank
from llama_swap.scheduler.policy.ruling import Neighbours, Policy


class Use(StrEnum):
    """What an instance is doing, as far as it matters to somebody who wants its place."""

    IDLE = "idle"  # may be stopped now
    SERVING = "serving"  # has leases: may be drained, never cut
    LOADING = "loading"  # somebody waits for it to become ready: it serves them first
    LEAVING = "leaving"  # on its way out


class Step(StrEnum):
    """What a candidate may do now."""

    START = "start"
    EVICT = "evict"
    DRAIN = "drain"
    WAIT = "wait"
    REFUSE = "refuse"  # it can never start as things are


@dataclass(frozen=True, slots=True)
class Occupant:
    """A model that has an instance.

    Attributes:
        first_in_line: the rank of the first waiter that this very instance could serve, None without one.
    """

    model: str
    use: Use
    first_in_line: Rank | None = None

    def is_free_for(self, candidate: "Candidate") -> bool:
        """Whether the candidate may have its place without anybody being cut or overtaken."""
        if self.use is Use.LEAVING:
            return True
        return self.use is Use.IDLE and (self.first_in_line is None or candidate.rank < self.first_in_line)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that has waiters and no instance that can serve them."""

    model: str
    rank: Rank
    is_overdue: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """The verdict on one candidate.

    Attributes:
        in_the_way: the models that have to exit before it starts.
        behind: the earlier candidate whose claim it has to respect, if that is what it waits for.
        note: what else it waits for.
        needs_reading: a fresh reading of the memory is what it waits for.
        is_settling: readings may soon be better: something has just exited.
        refusal: why it is refused.
        devices: where memory decided to put it.
        taken: pool -> bytes that are reserved for it at its start.
        cost: of those in the way.
        is_alone: it starts beside nobody who could leave, because its need is not known for sure.
    """

    candidate: Candidate
    step: Step
    in_the_way: tuple[str, ...] = ()
    behind: str | None = None
    note: str = ""
    needs_reading: bool = False
    is_settling: bool = False
    refusal: RejectReason | None = None
    devices: tuple[str, ...] = ()
    taken: Mapping[str, int] = field(default_factory=dict)
    cost: float | None = None
    is_alone: bool = False

    @property
    def model(self) -> str:
        """The model that wants to run."""
        return self.candidate.model


def place(candidates: Sequence[Candidate], occupants: Mapping[str, Occupant], policy: Policy) -> list[Placement]:
    """Judge every candidate.

    Args:
        candidates: in the order of the queue.
        occupants: every model that has an instance, by name; the least recently used first.
        policy: who may run beside whom.
    """
    placements: list[Placement] = []
    claims: list[Placement] = []
    seated = dict(occupants)
    for candidate in candidates:
        placement = _judge(candidate, seated, claims, policy)
        placements.append(placement)
        if placement.step is Step.START:
            seated[candidate.model] = Occupant(candidate.model, Use.LOADING)
        elif placement.step is not Step.WAIT:
            claims.append(placement)
    return placements


def _judge(
    candidate: Candidate, seated: Mapping[str, Occupant], claims: Sequence[Placement], policy: Policy
) -> Placement:
    neighbours = neighbours_of(seated)
    in_the_way = policy.victims(candidate.model, neighbours)
    if candidate.model in seated:  # its own last instance has to exit first
        in_the_way = (*in_the_way, candidate.model)
    behind = next((c.model for c in claims if _collides(candidate.model, in_the_way, c, neighbours, policy)), None)
    if behind is not None:
        return Placement(candidate, Step.WAIT, in_the_way, behind)
    if not in_the_way:
        return Placement(candidate, Step.START)
    if all(seated[model].is_free_for(candidate) for model in in_the_way):
        return Placement(candidate, Step.EVICT, in_the_way)
    return Placement(candidate, Step.DRAIN if candidate.is_overdue else Step.WAIT, in_the_way)


def neighbours_of(occupants: Mapping[str, Occupant]) -> Neighbours:
    """The occupants as a policy sees them, in the same order."""
    leaving = tuple(o.model for o in occupants.values() if o.use is Use.LEAVING)
    return Neighbours(tuple(o.model for o in occupants.values() if o.use is not Use.LEAVING), leaving)


def _collides(
    model: str, in_the_way: tuple[str, ...], claim: Placement, neighbours: Neighbours, policy: Policy
) -> bool:
    """Whether seating a model would take what the claimant counts on, or change whom the claimant needs gone."""
    if not set(in_the_way).isdisjoint(claim.in_the_way):
        return True
    seated = neighbours.with_newcomer(model, without=in_the_way)
    return set(policy.victims(claim.model, seated)) != set(claim.in_the_way) - {claim.model}
