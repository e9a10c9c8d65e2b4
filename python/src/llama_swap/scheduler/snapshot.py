"""The state as others may see it: frozen, with reasons in words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from llama_swap.scheduler.placing import placements_of, waiters_in_order
from llama_swap.scheduler.policy.ruling import RuleKind
from llama_swap.scheduler.policy.seating import Placement
from llama_swap.scheduler.state import Failures, Instance, Phase, State
from llama_swap.scheduler.view import rooms_of


class Standing(StrEnum):
    """What a model is, in one word: the phase of its instance, or why it has none."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    RELEASING = "releasing"
    FAILED = "failed"  # its last start failed; the next request tries again
    BACKOFF = "backoff"  # it failed repeatedly; requests are refused until next_try_at


@dataclass(frozen=True, slots=True)
class YieldView:
    """Devices that are left to other programs; until is monotonic seconds, None is until somebody ends it.

    Attributes:
        holder: who asked, or ``auto:`` and the pool where the pressure of other programs did.
        devices: the pools; () is all.
    """

    holder: str
    devices: tuple[str, ...]
    until: float | None
    because: str


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool of memory, in bytes.

    Attributes:
        promised_bytes: what the living instances hold or may still take, by the scheduler's account.
        available_bytes: what a newcomer could get now without anybody leaving.
        foreign_bytes: what other programs use; None where that is unknown.
    """

    pool: str
    label: str
    index: int | None
    total_bytes: int
    free_bytes: int
    promised_bytes: int
    available_bytes: int
    foreign_bytes: int | None


@dataclass(frozen=True, slots=True)
class InstanceView:
    """A living instance; times are monotonic seconds.

    Attributes:
        leases: requests in service.
        because: why it is in its phase.
        since: when it entered its phase.
        unload_at: when it is unloaded if nobody uses it until then; None while in use or without ttl.
        pinned: by the configuration or at run time: neither evicted nor unloaded for being idle.
        claims: pool -> bytes that it holds or may still take; {} where nothing is known.
        devices: the devices it was confined to at its start; () is none in particular.
    """

    model: str
    instance_id: int
    phase: Phase
    leases: int
    because: str
    since: float
    ready_at: float | None
    last_used: float | None
    unload_at: float | None
    pinned: bool = False
    claims: Mapping[str, int] = field(default_factory=dict)
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelView:
    """A configured model.

    Attributes:
        failures: failed starts in a row.
        next_try_at: monotonic seconds; None when it may be tried now.
        pinned: by the configuration or at run time, whether it runs or not.
    """

    model: str
    standing: Standing
    waiting: int
    failures: int
    last_failure: str
    next_try_at: float | None
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class WaiterView:
    """A waiting request; position 1 is the next to be served as far as can be said now."""

    request_id: int
    model: str
    position: int
    waited_seconds: float
    blocked_by: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment.

    Attributes:
        rule: what decides who may run beside whom now.
        pools: the memory as it was measured last; () before that.
        measured_at: when that reading began, in monotonic seconds; None before the first.
        memory_problem: why figures are missing or old; "" is none.
        release_lag_seconds: how long the memory of the last exited instance took to come back; None before.
    """

    at: float
    instances: tuple[InstanceView, ...]
    models: tuple[ModelView, ...]
    queue: tuple[WaiterView, ...]
    is_closing: bool
    rule: RuleKind = RuleKind.GROUP
    pools: tuple[PoolView, ...] = ()
    yields: tuple[YieldView, ...] = ()
    measured_at: float | None = None
    memory_problem: str = ""
    release_lag_seconds: float | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the shutdown is complete: every process has exited."""
        return self.is_closing and not self.instances


def take_snapshot(state: State, now: float) -> Snapshot:
    """Describe the state."""
    blocks = blocked_by(state, now)
    queue = tuple(
        WaiterView(w.request_id, w.model, position, now - w.arrived_at, blocks.get(w.model, ""))
        for position, w in enumerate(waiters_in_order(state), start=1)
    )
    return Snapshot(
        at=now,
        instances=tuple(_instance_view(i) for i in state.instances.values()),
        models=tuple(_model_view(state, model) for model in state.spec.models),
        queue=queue,
        is_closing=state.closing_since is not None,
        rule=rule_of(state),
        pools=_pool_views(state),
        yields=tuple(YieldView(y.holder, y.devices, y.until, y.because) for y in state.yields.values()),
        measured_at=state.memory.at,
        memory_problem=state.memory.problem,
        release_lag_seconds=state.memory.lag_seconds,
    )


def rule_of(state: State) -> RuleKind:
    """What decides who may run beside whom now."""
    if state.is_ruled_by_memory:
        return RuleKind.FIT
    return RuleKind.GROUP if state.spec.matrix is None else RuleKind.MATRIX


def _pool_views(state: State) -> tuple[PoolView, ...]:
    rooms = rooms_of(state)
    return tuple(
        PoolView(
            pool=reading.pool,
            label=reading.label,
            index=reading.index,
            total_bytes=reading.total_bytes,
            free_bytes=reading.free_bytes,
            promised_bytes=sum(i.claims.of(reading.pool) for i in state.instances.values()),
            available_bytes=max(0, rooms[reading.pool].available_bytes),
            foreign_bytes=None if reading.foreign_bytes is None else state.memory.foreign.get(reading.pool, 0),
        )
        for reading in state.memory.pools.values()
    )


def _instance_view(instance: Instance) -> InstanceView:
    return InstanceView(
        model=instance.model,
        instance_id=instance.instance_id,
        phase=instance.phase,
        leases=len(instance.leases),
        because=instance.because,
        since=instance.since,
        ready_at=instance.ready_at,
        last_used=instance.last_used,
        unload_at=instance.unload_at,
        pinned=instance.is_pinned,
        claims=instance.claims.all(),
        devices=instance.devices,
    )


def _model_view(state: State, model: str) -> ModelView:
    failures = state.failures.get(model, Failures())
    instance = state.instances.get(model)
    if instance is not None:
        standing = Standing(instance.phase)
    elif failures.next_try_at is not None:
        standing = Standing.BACKOFF
    else:
        standing = Standing.FAILED if failures.count else Standing.STOPPED
    waiting = len(state.queue.get(model, ()))
    pinned = state.is_pinned(model)
    return ModelView(model, standing, waiting, failures.count, failures.last, failures.next_try_at, pinned)


def blocked_by(state: State, now: float) -> dict[str, str]:
    """Why the waiters of each model still wait."""
    blocks = {p.model: _obstacles(state, p) for p in placements_of(state, now)}
    for model in state.queue.keys() - blocks.keys():
        instance = state.instances[model]
        blocks[model] = f"{model} is loading" if instance.phase is Phase.STARTING else instance.because
    return blocks


def _obstacles(state: State, placement: Placement) -> str:
    reasons = [doing(state.instances[m]) for m in placement.in_the_way if m in state.instances]
    if placement.behind is not None:
        reasons.insert(0, f"{placement.behind} comes first")
    if placement.note:
        reasons.insert(0, placement.note)
    return ", ".join(reasons) or f"{placement.model} is about to start"


def doing(instance: Instance) -> str:
    """What an instance in somebody's way does."""
    if instance.phase is Phase.STARTING:
        return f"{instance.model} is loading"
    if instance.phase is Phase.STOPPING:
        return f"{instance.model} is stopping"
    if instance.phase is Phase.RELEASING:
        return f"the memory of {instance.model} is on its way back"
    requests = len(instance.leases)
    if not requests:
        return f"{instance.model} is idle"
    return f"{instance.model} serves {requests} request{'' if requests == 1 else 's'}"
