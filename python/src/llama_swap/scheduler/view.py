"""The state as the policies see it: what there is, who has what of it and what that is worth, what is wanted."""

from dataclasses import replace

from llama_swap.scheduler.instance import Instance, Phase
from llama_swap.scheduler.memory import HOST, NeedSource
from llama_swap.scheduler.policy.rooms import Room, Wish
from llama_swap.scheduler.policy.seating import Occupant, Use
from llama_swap.scheduler.policy.table import Tenant, View
from llama_swap.scheduler.shares import DEFAULT_LOAD_SECONDS, USE_HALF_LIFE_SECONDS, eviction_cost
from llama_swap.scheduler.spec import ModelSpec
from llama_swap.scheduler.state import State
from llama_swap.scheduler.yields import yielded_pools

GIVEN_UP = 0.1
"""What evicting a draining model costs of what it did: it was chosen already, and to take that back delays all."""


def view_of(state: State, now: float) -> View:
    """The state as a decision by memory sees it."""
    rooms = rooms_of(state)
    tenants = {model: _tenant(state, instance, now) for model, instance in state.instances.items()}
    for model, instance in state.instances.items():
        if has_all(instance):
            _leave_all_to(model, instance, rooms, tenants)
    wishes = {model: wish for model in state.spec.models if (wish := _wish(state, model, now)) is not None}
    return View(rooms, tenants, wishes)


def has_all(instance: Instance) -> bool:
    """Whether all there is counts as its own, because nobody knows yet how much of it that takes."""
    return instance.is_alone and not instance.is_looked_at and not instance.is_leaving


def _leave_all_to(model: str, instance: Instance, rooms: dict[str, Room], tenants: dict[str, Tenant]) -> None:
    """Also what became free since its start."""
    claims = dict(tenants[model].claims)
    for pool in instance.claims.reserved.keys() & rooms.keys():
        surplus = max(0, rooms[pool].available_bytes)
        if pool != HOST or set(rooms) == {HOST}:
            claims[pool] = claims.get(pool, 0) + surplus
            rooms[pool] = replace(rooms[pool], available_bytes=rooms[pool].available_bytes - surplus)
    tenants[model] = replace(tenants[model], claims=claims, is_measured=False)


def rooms_of(state: State) -> dict[str, Room]:
    """What there is of each pool."""
    yielded = yielded_pools(state)
    rooms = {}
    for pool, reading in state.memory.pools.items():
        headroom, _ = state.spec.kept_free(pool)
        available = state.memory.available(pool, state.instances.values(), headroom)
        foreign = state.memory.foreign.get(pool, 0)
        rooms[pool] = Room(
            pool, reading.label, reading.index, reading.total_bytes, available, headroom, foreign, pool in yielded
        )
    return rooms


def _tenant(state: State, instance: Instance, now: float) -> Tenant:
    claims = instance.claims.all()
    if state.memory.devices and not instance.claims.is_known(state.memory.devices):
        claims |= {pool: max(claims.get(pool, 0), size) for pool, size in _guessed_claims(state).items()}
    return Tenant(claims, eviction_cost_of(state, instance, now), instance.is_pinned, is_rested(state, instance, now))


def _guessed_claims(state: State) -> dict[str, int]:
    """What an instance may hold that was started when memory did not decide: all that nobody else accounts for."""
    return {pool: state.memory.foreign.get(pool, 0) for pool in state.memory.devices}


def eviction_cost_of(state: State, instance: Instance, now: float) -> float:
    """What it costs to evict an instance: as configured, or by its load time and its use."""
    cost = _cost(state, instance.spec, now)
    return cost * GIVEN_UP if instance.phase is Phase.DRAINING else cost


def _cost(state: State, spec: ModelSpec, now: float) -> float:
    if spec.evict_cost is not None:
        return spec.evict_cost
    use = state.uses.get(spec.model)
    return eviction_cost(load_seconds(state, spec.model), 0.0 if use is None else use.now(now, USE_HALF_LIFE_SECONDS))


def load_seconds(state: State, model: str) -> float:
    """How long a model takes to load, as far as that was learned."""
    assessed = state.needs.get(model)
    if assessed is not None and assessed.need.load_seconds is not None:
        return assessed.need.load_seconds
    return state.loads.get(model, DEFAULT_LOAD_SECONDS)


def _wish(state: State, model: str, now: float) -> Wish | None:
    """What a model asks for; also by an old figure, which then has to be found out again before anything is done."""
    assessed = state.needs.get(model)
    if assessed is None:
        return None
    is_alone = assessed.is_raised or assessed.need.source is NeedSource.UNKNOWN
    may_start = not lacks_need(state, model) and state.memory.is_fresh(now)
    spec = state.spec.models[model]
    return Wish(
        assessed.need, spec.devices, is_alone, may_start and state.is_pinned(model), cost=_cost(state, spec, now)
    )


def lacks_need(state: State, model: str) -> bool:
    """Whether it has to be found out what a model needs before it starts."""
    assessed = state.needs.get(model)
    return assessed is None or assessed.is_spent or assessed.fingerprint != state.spec.models[model].fingerprint


def is_rested(state: State, instance: Instance, now: float) -> bool:
    """Whether it has been there for the minimum residency."""
    fit = state.spec.fit
    if fit is None or instance.phase is not Phase.READY or instance.ready_at is None:
        return True
    return now >= instance.ready_at + fit.min_residency_seconds


# --- what those do that run -------------------------------------------------------------------


def occupants_of(state: State) -> dict[str, Occupant]:
    """Every model that has an instance, the one that would be missed least first."""
    by_use = sorted(state.instances.values(), key=lambda instance: _missed(state, instance))
    return {instance.model: _occupant(state, instance) for instance in by_use}


def _missed(state: State, instance: Instance) -> tuple[bool, bool, float]:
    """How recently it was used; what drains was given up, and to take that back with every lease might never end."""
    is_in_use = bool(instance.leases) or instance.model in state.queue
    return (instance.phase is not Phase.DRAINING, is_in_use, instance.used_at)


def _occupant(state: State, instance: Instance) -> Occupant:
    model = instance.model
    head = state.first_waiter(model)
    if instance.is_leaving:
        return Occupant(model, Use.LEAVING)
    if head is None:
        return Occupant(model, Use.SERVING if instance.leases else Use.IDLE)
    if instance.phase is Phase.STARTING:
        return Occupant(model, Use.LOADING)
    if instance.leases or instance.phase is Phase.READY:  # its waiters are served in this very step
        return Occupant(model, Use.SERVING)
    return Occupant(model, Use.IDLE, state.rank(head))
