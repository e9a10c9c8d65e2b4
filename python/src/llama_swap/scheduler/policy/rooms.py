"""Room in pools of memory, and the ways in which a model can be put into it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from llama_swap.scheduler.memory import HOST, Need, NeedSource

Bytes = Mapping[str, int]
"""Pool -> bytes."""


@dataclass(frozen=True, slots=True)
class Room:
    """One pool, in bytes.

    Attributes:
        available_bytes: what may be given out now: neither promised nor headroom; may be negative.
        headroom_bytes: what stays free.
        foreign_bytes: what others use.
        is_yielded: it is left to other programs.
    """

    pool: str
    label: str
    index: int | None
    total_bytes: int
    available_bytes: int
    headroom_bytes: int = 0
    foreign_bytes: int = 0
    is_yielded: bool = False

    def is_named(self, name: str) -> bool:
        """Whether a configuration means this one: by number, UUID, or the beginning of a UUID as CUDA takes it."""
        return name in (str(self.index), self.pool) or ("-" in name and self.pool.startswith(name))


@dataclass(frozen=True, slots=True)
class Wish:
    """What a model asks for.

    Attributes:
        devices: what its command names, as in :class:`llama_swap.scheduler.spec.ModelSpec`.
        is_alone: nobody who can leave shall be beside it, because the need is unknown or was wrong.
        is_pinned: once it runs it stays, and nothing more has to be known before it starts.
        cost: of evicting it once it runs.
        makes_do: what it would like is not to be had, so it takes what there is, if that is its least.
    """

    need: Need
    devices: tuple[str, ...] | None = None
    is_alone: bool = False
    is_pinned: bool = False
    cost: float = 0.0
    makes_do: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """One way to put a model.

    Attributes:
        devices: where; () where it takes from the host alone.
        fixed: bytes that it needs of just this pool.
        shared: bytes that the devices share in proportion to their room.
        takes_all: it gets whatever is there of the devices, or of the pools where there are none; ``shared`` is then
            the least that has to be there.
    """

    devices: tuple[str, ...]
    fixed: Bytes = field(default_factory=dict)
    shared: int = 0
    takes_all: bool = False

    @property
    def pools(self) -> tuple[str, ...]:
        """All pools it takes from."""
        return tuple(dict.fromkeys((*self.devices, *self.fixed)))

    def fits(self, room: Bytes) -> bool:
        """Whether it finds room."""
        if any(room[pool] < size for pool, size in self.fixed.items()):
            return False
        return sum(max(0, room[device]) for device in self.devices) >= self.shared if self.shared else True

    def taken(self, room: Bytes) -> dict[str, int]:
        """What it takes of each pool; of a room in which it fits."""
        if self.takes_all:
            return {**self.fixed, **{pool: max(0, room[pool]) for pool in self.devices or self.pools}}
        taken = dict(self.fixed)
        left, wanted = sum(max(0, room[device]) for device in self.devices), self.shared
        for device in self.devices if self.shared else ():
            mine = -(-wanted * max(0, room[device]) // left) if left else 0
            taken[device] = taken.get(device, 0) + mine
            left, wanted = left - max(0, room[device]), wanted - mine
        return taken


def modest(wish: Wish, rooms: Mapping[str, Room]) -> Wish | None:
    """The wish that remains where as much as this is not to be had; None where less does not do.

    On a machine without devices nobody makes himself smaller: ``--fit`` looks at devices only.
    """
    if wish.need.least is not wish.need:
        return replace(wish, need=wish.need.least, is_alone=True)
    if wish.need.least_bytes is None or wish.makes_do or set(rooms) == {HOST}:
        return None
    return replace(wish, is_alone=True, makes_do=True)


def named_devices(names: Sequence[str] | None, rooms: Collection[Room]) -> tuple[str, ...] | None:
    """The devices that a configuration names; None where the choice is free, () where it uses none of the known."""
    if names is None:
        return None
    devices = [room for room in rooms if room.pool != HOST]
    return tuple(room.pool for room in devices if "*" in names or any(room.is_named(name) for name in names))


def used_devices(wish: Wish, rooms: Mapping[str, Room]) -> tuple[str, ...] | None:
    """The devices that a model can use, as in :func:`named_devices`.

    Numbers that a command counts in another order than the driver mean other devices than it seems: where it was seen
    counts more.
    """
    named = named_devices(wish.devices, rooms.values())
    seen = _division(wish.need, rooms) if wish.need.source is NeedSource.LEARNED else {}
    return named if not named or set(seen) <= set(named) else tuple(seen)


def sites(wish: Wish, rooms: Mapping[str, Room]) -> Iterator[list[Site]]:
    """All ways to put a model into these pools, those on fewer devices first: a list for each number of devices."""
    need = wish.need
    devices = tuple(pool for pool in rooms if pool != HOST)
    named = used_devices(wish, rooms)
    chosen = _division(need, rooms)
    if need.source is NeedSource.UNKNOWN:
        yield _all_of(named, devices, need, rooms)
    elif not devices or named == () or not _on_devices(need):
        yield [Site((), _host(need.host_bytes + _on_devices(need), rooms))]
    elif wish.makes_do:
        divided = tuple(chosen) if need.source is NeedSource.DECLARED else ()
        yield _all_of(divided or named, devices, need, rooms)
    elif chosen and need.source is NeedSource.DECLARED:
        yield [Site(tuple(chosen), {**chosen, **_host(need.host_bytes, rooms)})]
    elif named is not None:
        yield [_exactly(need, named, rooms)]
    else:
        for count in range(1, len(devices) + 1):
            yield [_exactly(need, some, rooms) for some in combinations(devices, count) if _can_share(some)]


def _can_share(devices: tuple[str, ...]) -> bool:
    """Whether one process can use all of these: it sees only one instance of a card that is divided (MIG)."""
    return len(devices) == 1 or not any(device.startswith("MIG-") for device in devices)


def _all_of(
    named: tuple[str, ...] | None, devices: tuple[str, ...], need: Need, rooms: Mapping[str, Room]
) -> list[Site]:
    """Whatever there is: of the named devices, of those that are not yielded, or of the host where there are none."""
    host = _host(need.host_bytes, rooms)
    free = tuple(device for device in devices if not rooms[device].is_yielded) or devices
    free = free if named is None else named
    if not free:
        return [Site((), host or {pool: 0 for pool in rooms if set(rooms) == {HOST}}, takes_all=set(rooms) == {HOST})]
    least = need.floor_bytes
    if not _can_share(free):
        return [Site((device,), host, least, takes_all=True) for device in free]
    return [Site(free, host, least, takes_all=True)]


def _exactly(need: Need, devices: tuple[str, ...], rooms: Mapping[str, Room]) -> Site:
    """On these devices and no others; divided as it was known to be on the very same, else as there is room."""
    host = _host(need.host_bytes, rooms)
    division = _division(need, rooms)
    if len(devices) > 1 and set(division) == set(devices):
        return Site(devices, {**division, **host})
    if len(devices) == 1:
        return Site(devices, {devices[0]: _on_devices(need), **host})
    return Site(devices, host, _on_devices(need) + need.per_device_bytes * (len(devices) - 1))


def _on_devices(need: Need) -> int:
    return need.device_bytes or sum(need.by_device.values())


def _host(size: int, rooms: Mapping[str, Room]) -> dict[str, int]:
    return {HOST: size} if size and HOST in rooms else {}


def _division(need: Need, rooms: Mapping[str, Room]) -> dict[str, int]:
    """The known division by pool; {} where it names a device that is not there."""
    found = {room.pool: size for name, size in need.by_device.items() for room in rooms.values() if room.is_named(name)}
    return found if len(found) == len(need.by_device) else {}
