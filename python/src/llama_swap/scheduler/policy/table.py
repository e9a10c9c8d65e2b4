"""The room there is while candidates are judged one after the other, and who is in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llama_swap.scheduler.policy.rooms import Bytes, Room, Wish
from llama_swap.scheduler.policy.seating import Occupant, Use


@dataclass(frozen=True, slots=True)
class Tenant:
    """A model that holds memory.

    Attributes:
        claims: what it holds or may still take, by pool; leaving gives all of it back.
        cost: of evicting it.
        is_rested: it has been there for the minimum residency.
        is_measured: its claims are what it needs; else they are all there is, until that is known.
    """

    claims: Bytes
    cost: float = 0.0
    is_pinned: bool = False
    is_rested: bool = True
    is_measured: bool = True

    @property
    def keeps(self) -> Bytes:
        """What will never be anybody else's."""
        return self.claims if self.is_pinned and self.is_measured else {}


@dataclass(frozen=True, slots=True)
class View:
    """Everything that a decision by memory depends on, at one moment.

    Attributes:
        rooms: all pools.
        tenants: every model that has an instance.
        wishes: what the candidates need; one without an entry is not known yet and waits.
    """

    rooms: Mapping[str, Room]
    tenants: Mapping[str, Tenant]
    wishes: Mapping[str, Wish]


@dataclass(slots=True)
class Table:
    """The room while the candidates are gone through.

    Attributes:
        tenants, seated: everybody who has an instance, or gets one in this very step, as if it had begun to load.
        now, later: see :mod:`llama_swap.scheduler.policy.fit`.
        most: the room there would be if everybody left who may.
        claimants: earlier candidates that evict or drain, and whoever stays and is not measured yet.
        taken: the models that leave for them.
        spoken_for: the pools that claimants have or get.
    """

    view: View
    tenants: dict[str, Tenant]
    seated: dict[str, Occupant]
    now: dict[str, int]
    later: dict[str, int]
    most: dict[str, int]
    claimants: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    spoken_for: set[str] = field(default_factory=set)


def most_room(view: View, occupants: Mapping[str, Occupant]) -> dict[str, int]:
    """What there would be of each pool if everybody left who may."""
    table = lay(view, occupants)
    return capped(table.most, ceiling(table, ""))


def lay(view: View, occupants: Mapping[str, Occupant]) -> Table:
    """The table before the first candidate is judged."""
    now = {pool: room.available_bytes for pool, room in view.rooms.items()}
    table = Table(view, {}, dict(occupants), now, dict(now), dict(now))
    for model, tenant in view.tenants.items():
        settle(table, model, tenant)
        if occupants[model].use is Use.LEAVING:
            _give(table.later, tenant.claims)
            _give(table.most, tenant.keeps)
    return table


def settle(table: Table, model: str, tenant: Tenant) -> None:
    """Count with somebody who runs; what he has is not in the room that there is now."""
    table.tenants[model] = tenant
    _give(table.most, tenant.claims)
    take(table.most, tenant.keeps)
    if tenant.is_pinned and not tenant.is_measured:
        table.claimants.append(model)
        table.spoken_for.update(tenant.claims)


def ceiling(table: Table, newcomer: str) -> dict[str, int]:
    """What there can be of each pool at best: promises that nobody can see kept may be more than there is."""
    room = {pool: room.total_bytes - room.headroom_bytes for pool, room in table.view.rooms.items()}
    for model, tenant in table.tenants.items():
        if model != newcomer and table.seated[model].use is not Use.LEAVING:
            take(room, tenant.keeps)
    return room


def capped(room: Bytes, most: Bytes) -> dict[str, int]:
    """A room with no more in any pool than that."""
    return {pool: min(size, most[pool]) for pool, size in room.items()}


def room_without(table: Table, room: Bytes, gone: Sequence[str]) -> dict[str, int]:
    """A room after some have left it."""
    tenants = [table.tenants[model].claims for model in gone if model in table.tenants]
    return {pool: size + sum(claims.get(pool, 0) for claims in tenants) for pool, size in room.items()}


def both(table: Table) -> dict[str, int]:
    """What is there now and is not another one's later."""
    return {pool: min(size, table.later[pool]) for pool, size in table.now.items()}


def take(room: dict[str, int], taken: Bytes) -> None:
    """Make a room smaller by what somebody gets of it."""
    for pool in room.keys() & taken.keys():
        room[pool] -= taken[pool]


def _give(room: dict[str, int], given: Bytes) -> None:
    for pool in room.keys() & given.keys():
        room[pool] += given[pool]
