"""Who may run beside whom where memory decides: one pure function over the waiting, the running and the room there is.

A model starts where what it needs finds room. If it finds none, the cheapest set of idle models that makes room is
evicted; if idle ones do not suffice, busy ones are waited for, and drained when the candidate is overdue. If even all
that may leave would not make room it is refused, and nobody is evicted.

Two rooms are kept while the candidates are gone through. *Now* is what can be given out at this moment. *Later* is what
there will be when all that are leaving, and all victims of earlier candidates, have left and those candidates have
started. Who starts must fit into both; victims are chosen by the later one. So nobody takes what another one's victims
leave their places for, and swaps that do not touch each other's memory go on side by side.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from llama_swap.scheduler.commands import RejectReason
from llama_swap.scheduler.policy.rooms import Bytes, Site, Wish, modest, sites
from llama_swap.scheduler.policy.seating import Candidate, Occupant, Placement, Step, Use
from llama_swap.scheduler.policy.table import (
    Table,
    Tenant,
    View,
    both,
    capped,
    ceiling,
    lay,
    room_without,
    settle,
    take,
)
from llama_swap.scheduler.policy.victims import cheapest

BUSY_COST = 1e9
"""What it costs besides to take the place of a model in use: all idle ones together are cheaper."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to seat a candidate.

    Attributes:
        victims: who has to leave for it.
        waits: for those that leave anyway, or for an earlier claim to be settled.
        cost: of all victims.
        size: of its devices; less than 0 where the largest are the best.
    """

    site: Site
    victims: tuple[str, ...]
    waits: bool
    cost: float
    size: int
    is_alone: bool

    @property
    def order(self) -> tuple[int, bool, int, float, bool, int]:
        """The best first: nobody in use, few devices, little lost, at once, on small devices.

        Whose need is not known at all gets the largest whatever that takes: too small a one is a failed start.
        """
        first = self.size if self.site.takes_all and not self.site.shared else 0
        return (first, self.cost >= BUSY_COST, len(self.site.devices), self.cost, self.waits, self.size)


def place_by_memory(candidates: Sequence[Candidate], occupants: Mapping[str, Occupant], view: View) -> list[Placement]:
    """Judge every candidate.

    Args:
        candidates: in the order of the queue.
        occupants: every model that has an instance.
        view: what each of them holds and needs.
    """
    table = lay(view, occupants)
    placements = [_judge_known(table, candidate) for candidate in candidates]
    if not any(p.step is Step.START and table.tenants[p.model].is_pinned for p in placements):
        return placements
    # Who waits may have lost all hope to a pinned one that starts after it in this very step.
    return [_judge_known(table, p.candidate) if p.step is Step.WAIT else p for p in placements]


def _judge_known(table: Table, candidate: Candidate) -> Placement:
    wish = table.view.wishes.get(candidate.model)
    return Placement(candidate, Step.WAIT) if wish is None else _judge(table, candidate, wish)


def _judge(table: Table, candidate: Candidate, wish: Wish) -> Placement:
    own = _own(table, candidate)
    most = room_without(table, table.most, [model for model in own if table.tenants[model].keeps])
    most = capped(most, ceiling(table, candidate.model))
    if not any(site.fits(most) for site in _usable(table.view, wish)):
        less = modest(wish, table.view.rooms)
        return _refuse(table, candidate, wish) if less is None else _judge(table, candidate, less)
    later = room_without(table, table.later, own)
    plan = min(_plans(table, candidate, wish, later, most), key=lambda plan: plan.order, default=None)
    in_the_way = _in_the_way(table, candidate, plan) if plan is not None else ()
    if plan is None or (plan.waits and not in_the_way):  # it fits only without what earlier ones have claimed
        return Placement(candidate, Step.WAIT, behind=_claimant(table))
    if not in_the_way:
        return _start(table, candidate, plan, wish)
    return _make_room(table, candidate, plan, later, in_the_way)


def _make_room(table: Table, candidate: Candidate, plan: Plan, later: Bytes, in_the_way: tuple[str, ...]) -> Placement:
    """Take the places of those in the way, or wait until that is possible."""
    cost = sum(table.tenants[model].cost for model in plan.victims)
    is_free = all(_is_free(table, model, candidate) for model in in_the_way)
    step = Step.EVICT if is_free else Step.DRAIN if candidate.is_overdue else Step.WAIT
    if step is not Step.WAIT:
        _claim(table, candidate, plan, later)
    return Placement(candidate, step, in_the_way, devices=plan.site.devices, cost=cost)


def _plans(table: Table, candidate: Candidate, wish: Wish, later: Bytes, most: Bytes) -> Iterator[Plan]:
    """A plan for each site; further devices only where fewer do without disturbing anybody in use."""
    found = False
    for some in sites(wish, table.view.rooms):
        for site in some:
            if not site.fits(most) or any(table.view.rooms[device].is_yielded for device in site.devices):
                continue
            plan = _plan(table, candidate, wish, site, later)
            if plan is not None:
                found |= plan.cost < BUSY_COST
                yield plan
        if found:
            return


def _plan(table: Table, candidate: Candidate, wish: Wish, site: Site, later: Bytes) -> Plan | None:
    costs = dict(_costs(table, candidate, site))
    if wish.is_alone and not table.spoken_for.isdisjoint(site.devices or site.pools):
        return None
    victims = _victims(table, wish, site, later, costs)
    if victims is None:
        return None
    waits = bool(victims) or not site.fits(both(table)) or (wish.is_alone and bool(_leaving(table, candidate, site)))
    size = sum(_size(table, device, site) for device in site.devices)
    return Plan(site, victims, waits, sum(costs[model] for model in victims), size, wish.is_alone)


def _size(table: Table, device: str, site: Site) -> int:
    """For the order of plans: who takes all there is, gets the most of what nobody keeps."""
    total = table.view.rooms[device].total_bytes
    if not site.takes_all:
        return total
    return sum(tenant.claims.get(device, 0) for tenant in table.tenants.values() if tenant.is_pinned) - total


def _victims(table: Table, wish: Wish, site: Site, later: Bytes, costs: Mapping[str, float]) -> tuple[str, ...] | None:
    held = {
        model: [(pool, size) for pool in site.pools if (size := table.tenants[model].claims.get(pool))]
        for model in costs
    }

    def suffices(gone: Sequence[str]) -> bool:
        room = {pool: later[pool] for pool in site.pools}
        for model in gone:
            for pool, size in held[model]:
                room[pool] += size
        return site.fits(room)

    if wish.is_alone:
        beside = tuple(model for model in costs if _holds(table.tenants[model], site.devices or site.pools))
        others = {model: cost for model, cost in costs.items() if model not in beside}
        more = cheapest(others, lambda gone: suffices((*beside, *gone)))
        return None if more is None else (*beside, *more)
    idle = {model: cost for model, cost in costs.items() if cost < BUSY_COST}
    return cheapest(idle, suffices) or (cheapest(costs, suffices) if not suffices(()) else ())


def _costs(table: Table, candidate: Candidate, site: Site) -> Iterator[tuple[str, float]]:
    """Who holds something of what a site takes from, and may leave."""
    for model, tenant in table.tenants.items():
        if tenant.is_pinned or model in table.taken or model == candidate.model:
            continue
        if table.seated[model].use is Use.LEAVING or not _holds(tenant, site.pools):
            continue
        yield model, tenant.cost + (0.0 if _is_free(table, model, candidate) else BUSY_COST)


def _holds(tenant: Tenant, pools: Sequence[str]) -> bool:
    return any(tenant.claims.get(pool) for pool in pools)


def _is_free(table: Table, model: str, candidate: Candidate) -> bool:
    if not table.seated[model].is_free_for(candidate):
        return False
    tenant = table.tenants.get(model)
    return tenant is None or tenant.is_rested or candidate.is_overdue or table.seated[model].use is Use.LEAVING


def _own(table: Table, candidate: Candidate) -> tuple[str, ...]:
    """Its own last instance, which has to exit first; what leaves already is counted."""
    own = table.seated.get(candidate.model)
    return (candidate.model,) if own is not None and own.use is not Use.LEAVING else ()


def _in_the_way(table: Table, candidate: Candidate, plan: Plan) -> tuple[str, ...]:
    own = (candidate.model,) if candidate.model in table.seated else ()
    leaving = _leaving(table, candidate, plan.site) if plan.waits else ()
    return (*plan.victims, *leaving, *own)


def _leaving(table: Table, candidate: Candidate, site: Site) -> tuple[str, ...]:
    """Who leaves anyway, or for an earlier candidate, and has something of what a site takes from."""
    return tuple(
        model
        for model, tenant in table.tenants.items()
        if model != candidate.model
        and (model in table.taken or table.seated[model].use is Use.LEAVING)
        and _holds(tenant, site.pools)
    )


def _claimant(table: Table) -> str | None:
    return table.claimants[0] if table.claimants else None


def _start(table: Table, candidate: Candidate, plan: Plan, wish: Wish) -> Placement:
    room = both(table)
    taken = plan.site.taken(room)
    if plan.is_alone:
        taken |= {device: max(taken.get(device, 0), room[device]) for device in plan.site.devices}
    for pools in (table.now, table.later, table.most):
        take(pools, taken)
    table.seated[candidate.model] = Occupant(candidate.model, Use.LOADING)
    settle(table, candidate.model, Tenant(taken, wish.cost, wish.is_pinned, is_measured=not plan.is_alone))
    return Placement(candidate, Step.START, devices=plan.site.devices, taken=taken, is_alone=plan.is_alone)


def _claim(table: Table, candidate: Candidate, plan: Plan, later: Bytes) -> None:
    room = room_without(table, later, plan.victims)
    take(room, plan.site.taken(room))
    table.later = room
    table.taken |= set(plan.victims)
    table.spoken_for.update(plan.site.pools, *(table.tenants[victim].claims for victim in plan.victims))
    table.claimants.append(candidate.model)


def _usable(view: View, wish: Wish) -> Iterator[Site]:
    for some in sites(wish, view.rooms):
        for site in some:
            if not any(view.rooms[device].is_yielded for device in site.devices):
                yield site


def _refuse(table: Table, candidate: Candidate, wish: Wish) -> Placement:
    """It can never fit; say whether that is only because of what others use."""
    room = ceiling(table, candidate.model)
    would_fit = any(site.fits(room) for some in sites(wish, table.view.rooms) for site in some)
    refusal = RejectReason.YIELDED if would_fit else RejectReason.DOES_NOT_FIT
    return Placement(candidate, Step.REFUSE, refusal=refusal)
