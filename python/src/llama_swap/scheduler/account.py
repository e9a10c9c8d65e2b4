"""The sums behind a decision by memory, in words."""

from collections.abc import Collection, Iterator, Mapping

from llama_swap.scheduler import refusals
from llama_swap.scheduler.commands import RejectReason
from llama_swap.scheduler.memory import HOST, Need, NeedSource
from llama_swap.scheduler.placing import pinned_in_the_way
from llama_swap.scheduler.policy.rooms import Bytes, Room, Wish, used_devices
from llama_swap.scheduler.policy.seating import Placement
from llama_swap.scheduler.policy.table import View, most_room
from llama_swap.scheduler.state import Dismissal, State
from llama_swap.scheduler.view import occupants_of, view_of
from llama_swap.scheduler.yields import yield_touching

LATER_SECONDS = 60.0
"""When to try again where a device is yielded and nobody said until when."""

_SOURCES = {
    NeedSource.LEARNED: "measured while it ran",
    NeedSource.DECLARED: "declared in the configuration",
    NeedSource.ASKED: "asked of llama.cpp",
    NeedSource.ESTIMATED: "estimated from its file",
}


def gibibytes(size: int) -> str:
    """A size for people, as ``17.2 GiB`` or ``300 MiB``."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 or not size else f"{size / 2**20:.0f} MiB"


def lines_of(state: State, model: str) -> tuple[str, ...]:
    """What a model needs, and for each pool it may take from what there is; () where its need is not known."""
    view = view_of(state, state.now)
    wish = view.wishes.get(model)
    if wish is None:
        return ()
    most = most_room(view, occupants_of(state))
    pools = [room for pool, room in view.rooms.items() if _concerns(view, wish, pool)]
    others = {name: tenant.keeps for name, tenant in view.tenants.items() if name != model}
    sums = (_sum(state, room, most[room.pool], _part(room, others)) for room in pools)
    return (need_in_words(wish.need), *_held(state, model), *sums, *_reservations(state, wish.need, pools))


def _held(state: State, model: str) -> Iterator[str]:
    """What a model that runs has now, which may be another figure than the one that it was started with."""
    instance = state.instances.get(model)
    if instance is None or instance.claims.last is not None:
        return
    held = [
        f"{gibibytes(size)} of {reading.label}"
        for pool, reading in state.memory.pools.items()
        if pool in instance.claims.measured and (size := instance.claims.held.get(pool, 0))
    ]
    if held:
        yield f"holds {', '.join(held)}"


def _reservations(state: State, need: Need, rooms: Collection[Room]) -> Iterator[str]:
    """What keeps the sums from being right."""
    devices = [room for room in rooms if room.pool != HOST]
    missing = [name for name in need.by_device if not any(room.is_named(name) for room in devices)]
    if devices and missing:
        yield f"there is no device {', '.join(missing)}, so only the sum of what is declared counts"
    if devices and state.memory.problem:
        yield f"what is free of devices is not known now: {state.memory.problem}"


def _part(room: Room, holders: Mapping[str, Bytes]) -> dict[str, int]:
    """What each has of a room, of those that have anything."""
    return {name: claims[room.pool] for name, claims in holders.items() if claims.get(room.pool)}


def refusal_of(state: State, placement: Placement) -> Dismissal:
    """What those are told who wait for a model that cannot start as things are."""
    model = placement.model
    match placement.refusal:
        case RejectReason.PINNED:
            return refusals.pinned(model, pinned_in_the_way(state, placement))
        case RejectReason.YIELDED:
            return refusals.yielded(model, placement.note, _return_in(state, model))
        case RejectReason.MEMORY_UNKNOWN:
            return refusals.memory_unknown(model, lines_of(state, model))
        case _:
            return refusals.does_not_fit(model, lines_of(state, model), _in_the_way(state, model))


def _in_the_way(state: State, model: str) -> str:
    """The key that keeps so much free that a model does not fit; "" where it would not fit without that either."""
    view = view_of(state, state.now)
    wish = view.wishes[model]
    need, most = wish.need, most_room(view, occupants_of(state))
    rooms = [room for pool, room in view.rooms.items() if _concerns(view, wish, pool)]
    devices = [room for room in rooms if room.pool != HOST]
    on_devices = need.floor_bytes or need.device_bytes or sum(need.by_device.values())
    on_host = need.host_bytes if devices else need.host_bytes + on_devices
    for some, wanted in ((devices, on_devices), ([room for room in rooms if room.pool == HOST], on_host)):
        free = sum(max(0, most[room.pool]) for room in some)
        if free < wanted <= sum(max(0, most[room.pool] + room.headroom_bytes) for room in some):
            return state.spec.kept_free(some[0].pool)[1]
    return ""


def _return_in(state: State, model: str) -> float:
    """When to try again: when the yield ends, or after a while where nobody knows."""
    yielding = yield_touching(state, model)
    if yielding is None or yielding.until is None:
        return LATER_SECONDS
    return max(refusals.SOON_SECONDS, yielding.until - state.now)


def need_in_words(need: Need) -> str:
    """What is needed, of what that consists, and how it is known."""
    if need.source is NeedSource.UNKNOWN:
        known = f", but for {gibibytes(need.host_bytes)} of the host's memory" if need.host_bytes else ""
        tried = f"; {gibibytes(need.too_few_bytes)} of devices were not enough" if need.too_few_bytes else ""
        return f"what it needs is unknown{known}{tried}{_with_less(need)}"
    sizes = []
    on_devices = need.device_bytes or sum(need.by_device.values())
    if on_devices or not need.host_bytes:
        sizes.append(gibibytes(on_devices))
    if need.host_bytes:
        sizes.append(f"{gibibytes(need.host_bytes)} of the host's memory")
    parts = ", ".join(f"{what} {gibibytes(size)}" for what, size in need.parts if size)
    return f"needs {' and '.join(sizes)} ({_SOURCES[need.source]}{': ' + parts if parts else ''}){_with_less(need)}"


def _with_less(need: Need) -> str:
    """With how little one does that adapts; "" for any other."""
    if need.least_bytes is None:
        return ""
    return f"; makes itself smaller: takes what there is, at least {gibibytes(need.least_bytes)}"


def _concerns(view: View, wish: Wish, pool: str) -> bool:
    need = wish.need
    named = used_devices(wish, view.rooms)
    uses_device = need.source is NeedSource.UNKNOWN or bool(need.device_bytes or need.by_device)
    if pool != HOST:
        return uses_device and (named is None or pool in named)
    has_no_device = named == () or set(view.rooms) == {HOST}
    return bool(need.host_bytes) or (uses_device and has_no_device)


def _sum(state: State, room: Room, most: int, pinned: Mapping[str, int]) -> str:
    parts = [gibibytes(room.total_bytes)]
    if room.foreign_bytes:
        parts.append(f"{gibibytes(room.foreign_bytes)} used by others")
    if pinned:
        parts.append(f"{gibibytes(sum(pinned.values()))} pinned ({', '.join(pinned)})")
    parts.append(f"{gibibytes(room.headroom_bytes)} kept free ({state.spec.kept_free(room.pool)[1]})")
    if room.is_yielded:
        parts.append("yielded to other programs")
        most = 0
    return f"{room.label}: {', '.join(parts)}, at most {gibibytes(max(0, most))} can be had"
