"""What a request would lead to: decided on a copy, by the same rules, so it cannot differ from what then happens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from llama_swap.scheduler.account import lines_of
from llama_swap.scheduler.commands import Command, RejectReason, RejectRequest, StartProcess, StopProcess
from llama_swap.scheduler.memory import Need
from llama_swap.scheduler.placing import placements_of, waiters_in_order
from llama_swap.scheduler.policy.ruling import RuleKind, Ruling
from llama_swap.scheduler.policy.seating import Placement, neighbours_of
from llama_swap.scheduler.reconcile import reconcile
from llama_swap.scheduler.snapshot import blocked_by, doing
from llama_swap.scheduler.state import State, Waiter
from llama_swap.scheduler.view import eviction_cost_of, occupants_of


class Outcome(StrEnum):
    """What happens to the request at once."""

    SERVED = "served"
    STARTS = "starts"  # the model starts now
    EVICTS = "evicts"  # others are stopped now, then it starts
    WAITS = "waits"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Departure:
    """A model that has to go first.

    Attributes:
        because: what it does now and so when it can go.
        cost: of evicting it, where memory decides.
    """

    model: str
    because: str
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryAccount:
    """The sum behind a decision by memory.

    Attributes:
        need: what the model needs and how that is known.
        devices: where it would be put; () where it fits nowhere, or needs no device.
        lines: the sum for each pool in words, as "GPU 0 (...): 24.0 GiB, 1.2 GiB used by others, ...".
        fits: whether it can run at all once everybody who may leave has left.
    """

    need: Need
    devices: tuple[str, ...]
    lines: tuple[str, ...]
    fits: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a request for a model would lead to, as things are.

    Attributes:
        would_start: the model has to be started for it, now or when its turn comes.
        would_stop: whom the request sends away: now where the outcome is ``evicts``, else when all of them are idle or
            it has waited too long. Those that leave anyway are not among them.
        waits_for: what it waits for at first; "" where it need not wait.
        rule: by which rule the others have to leave; None where the model need not be started.
        position: in the queue, 1 is the next to be served; 0 where it does not wait.
        refusal: what the client would be told.
        memory: the sum, where memory decides.
    """

    model: str
    outcome: Outcome
    would_start: bool = False
    would_stop: tuple[Departure, ...] = ()
    waits_for: str = ""
    rule: Ruling | None = None
    position: int = 0
    refusal: RejectRequest | None = None
    memory: MemoryAccount | None = None


def explain(state: State, model: str, now: float) -> Explanation:
    """Say what a request for a model would lead to, and leave the state as it is."""
    trial = state.copy()
    trial.now = now
    request_id = 1 + max((*state.waiters, *state.leases), default=0)
    waiter = Waiter(request_id, model, now, trusts_since=_trusts_since(state, now))
    trial.newcomer = waiter
    placement = _foreseen(state, waiter, now)
    commands = reconcile(trial, now)
    refusal = next((c for c in commands if isinstance(c, RejectRequest) and c.request_id == request_id), None)
    memory = _account(state, model, placement)
    if refusal is not None:
        return Explanation(model, Outcome.REFUSED, refusal=refusal, memory=memory)
    if request_id in trial.leases:
        return Explanation(model, Outcome.SERVED, memory=memory)
    return replace(_explain_wait(state, trial, commands, model, request_id), memory=memory)


def _trusts_since(state: State, now: float) -> float:
    """Which readings the request may be refused on: also a fresh one that began before it.

    Whoever asks has memory measured first; else nothing could ever be said of a model that does not fit.
    """
    memory = state.memory
    return memory.at if memory.at is not None and memory.is_fresh(now) else now


def _foreseen(state: State, waiter: Waiter, now: float) -> Placement | None:
    """What a request would lead to for its model; None where the model needs no start."""
    if waiter.model not in state.spec.models or state.closing_since is not None:
        return None
    trial = state.copy()
    trial.now = now
    trial.enqueue(waiter)
    return next((p for p in placements_of(trial, now) if p.model == waiter.model), None)


def _account(state: State, model: str, placement: Placement | None) -> MemoryAccount | None:
    """The sum for a model: of its start, or of the one that it was started with."""
    known, instance = state.needs.get(model), state.instances.get(model)
    if known is None or not state.is_ruled_by_memory:
        return None
    if placement is not None:
        devices = placement.devices
    else:
        devices = tuple(pool for pool in state.memory.devices if instance is not None and instance.claims.of(pool))
    fits = placement is None or placement.refusal is not RejectReason.DOES_NOT_FIT
    return MemoryAccount(known.need, devices, lines_of(state, model), fits)


def _explain_wait(state: State, trial: State, commands: Sequence[Command], model: str, request_id: int) -> Explanation:
    now = trial.now
    placement = next((p for p in placements_of(trial, now) if p.model == model), None)
    starts = any(isinstance(c, StartProcess) and c.model == model for c in commands)
    evicts = any(isinstance(c, StopProcess) and c.needed_by == model for c in commands)
    order = [waiter.request_id for waiter in waiters_in_order(trial)]
    would_start = starts or placement is not None
    return Explanation(
        model,
        Outcome.STARTS if starts else Outcome.EVICTS if evicts else Outcome.WAITS,
        would_start=would_start,
        would_stop=_departures(state, trial, commands, placement) if placement is not None else (),
        waits_for=blocked_by(trial, now)[model],
        rule=_rule(state, model, placement) if would_start else None,
        position=order.index(request_id) + 1,
    )


def _rule(state: State, model: str, placement: Placement | None) -> Ruling:
    if not state.is_ruled_by_memory:
        return state.policy.ruling(model, neighbours_of(occupants_of(state)))
    if placement is None:
        return Ruling(RuleKind.FIT, (), "memory", "")
    where = ", ".join(state.memory.pools[device].label for device in placement.devices)
    return Ruling(RuleKind.FIT, tuple(m for m in placement.in_the_way if m != model), "memory", where, placement.cost)


def _departures(
    before: State, trial: State, commands: Sequence[Command], placement: Placement
) -> tuple[Departure, ...]:
    stops = {command.model: command for command in commands if isinstance(command, StopProcess)}
    departures = []
    for victim in placement.in_the_way:
        instance, known = trial.instances.get(victim), before.instances.get(victim)
        if victim == placement.model or instance is None or known is None or known.is_leaving:
            continue
        stop = stops.get(victim)
        cost = eviction_cost_of(before, known, trial.now) if before.is_ruled_by_memory else None
        if stop is None:
            departures.append(Departure(victim, doing(instance), cost))
        elif stop.needed_by == placement.model:
            departures.append(Departure(victim, stop.because, cost))
    return tuple(departures)
