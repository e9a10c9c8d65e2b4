"""Devices that are left to other programs: whom that concerns, and when it begins and ends by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from llama_swap.scheduler.instance import Instance
from llama_swap.scheduler.memory import HOST, PoolReading
from llama_swap.scheduler.state import State, Yielding

AUTO = "auto:"
"""The holder of an automatic yield is this and the pool."""

GROWN_BYTES = 128 << 20
"""Use by others that grew by less is noise, and a device with less than this free is full."""

GROWN_SHARE = 8
"""A window or a film is no game: others must have grown by this part of what shall be free, unless nothing is left."""


def pools_of(state: State, yielding: Yielding) -> frozenset[str]:
    """The known devices that a yield leaves to others."""
    devices = [reading for reading in state.memory.pools.values() if reading.pool != HOST]
    if not yielding.devices:
        return frozenset(reading.pool for reading in devices)
    return frozenset(
        reading.pool
        for reading in devices
        if any(_is_named(name, reading.pool, reading.index) for name in yielding.devices)
    )


def _is_named(name: str, pool: str, index: int | None) -> bool:
    return name in (pool, str(index)) or ("-" in name and pool.startswith(name))


def yielded_pools(state: State) -> frozenset[str]:
    """All devices that are left to others now."""
    return frozenset(pool for yielding in state.yields.values() for pool in pools_of(state, yielding))


def end_yield(state: State, holder: str, now: float) -> None:
    """A holder gives back; who was stopped for a yield has waited for its place since now."""
    del state.yields[holder]
    state.returning = {model: max(at, now) for model, at in state.returning.items()}


def yield_upon(state: State, instance: Instance) -> Yielding | None:
    """The yield for which an instance has to leave: one of a device it holds memory of, or may hold memory of."""
    return next((y for y in state.yields.values() if _concerns(state, y, instance)), None)


def _concerns(state: State, yielding: Yielding, instance: Instance) -> bool:
    named, devices = instance.spec.devices, state.memory.devices
    if named == ():
        return False
    if not devices:  # nobody knows which is which
        return _may_mean(yielding, named)
    pools = pools_of(state, yielding)
    if instance.claims.is_known(devices):
        return any(instance.claims.of(pool) for pool in pools)
    return not pools.isdisjoint(instance.devices or (devices if named is None else _named(state, named)))


def yield_before(state: State, model: str) -> Yielding | None:
    """The yield that leaves a model no device; None where it can run somewhere, or needs no device."""
    return _yield_of(state, state.spec.models[model].devices)


def _yield_of(state: State, named: tuple[str, ...] | None) -> Yielding | None:
    if named == () or not state.yields:
        return None
    devices = state.memory.devices
    if not devices:  # nobody knows which is which
        return next((y for y in state.yields.values() if _may_mean(y, named)), None)
    needed = frozenset(devices) if named is None else _named(state, named)
    if named is None and can_confine(state) and not set(devices) <= yielded_pools(state):
        return None
    return next((y for y in state.yields.values() if not needed.isdisjoint(pools_of(state, y))), None)


def _named(state: State, named: tuple[str, ...]) -> frozenset[str]:
    """The devices that a command names."""
    readings = [state.memory.pools[pool] for pool in state.memory.devices]
    return frozenset(r.pool for r in readings if "*" in named or any(_is_named(n, r.pool, r.index) for n in named))


def can_confine(state: State) -> bool:
    """Whether processes can be kept to some of the devices: by names that CUDA knows."""
    return all(device.startswith(("GPU-", "MIG-")) for device in state.memory.devices)


def yield_touching(state: State, model: str) -> Yielding | None:
    """The yield that leaves a model fewer devices than it could use."""
    before = yield_before(state, model)
    if before is not None or state.spec.models[model].devices is not None:
        return before
    return next((y for y in state.yields.values() if pools_of(state, y)), None)


def words_of(yielding: Yielding) -> str:
    """For whom and why devices are left to others, for people."""
    if yielding.holder.startswith(AUTO):
        return yielding.because
    return f"yielded to {yielding.holder}{yielding.because and f': {yielding.because}'}"


def _may_mean(yielding: Yielding, named: tuple[str, ...] | None) -> bool:
    return not yielding.devices or named is None or "*" in named or not set(named).isdisjoint(yielding.devices)


def remaining_devices(state: State, model: str) -> tuple[str, ...]:
    """What a model is confined to while some devices are yielded and its command leaves the choice; () is none."""
    if state.spec.models[model].devices is not None or not state.yields:
        return ()
    gone = yielded_pools(state)
    return tuple(pool for pool in state.memory.devices if pool not in gone) if gone else ()


def note_pressure(state: State, newly_seen: Sequence[Instance], now: float) -> None:
    """Begin, prolong or forget the automatic yields by the latest reading.

    Memory that an exited process of ours has not given back yet looks like the use of others, so while some is on its
    way the reading says nothing about them. What a model takes whose memory is not seen to be its own looks like
    theirs as well: what they use counts from when it is ready.

    Args:
        state: with the reading.
        newly_seen: the instances that it is the first to show at work.
        now: the time.
    """
    least = state.spec.yielding.free_below_bytes
    memory = state.memory
    if not least or memory.problem:
        return
    for pool in memory.devices:
        if any(_is_on_its_way(instance, pool) for instance in state.instances.values()):
            continue
        reading, foreign = memory.pools[pool], memory.foreign.get(pool, 0)
        is_hiding = reading.held is None or bool(reading.hidden)
        if is_hiding and not all(i.is_looked_at for i in state.instances.values()):
            continue  # what a model that loads takes is not told from what others do
        if reading.free_bytes >= least:
            memory.quiet[pool] = foreign
            _relax(state, AUTO + pool, now)
        elif AUTO + pool in state.yields:
            _press(state, pool, foreign, now)
        elif is_hiding and any(instance.claims.of(pool) for instance in newly_seen):
            memory.quiet[pool] = foreign
        elif _others_want(state, reading, foreign, now):
            _press(state, pool, foreign, now)


def _others_want(state: State, reading: PoolReading, foreign: int, now: float) -> bool:
    """Whether others grew so much that there would be enough free without that, or that nothing is left.

    Models of ours that fill a device are no reason; others that grow beside them are one when they cannot grow on.
    What ran before a restart of the service gets time to give back what it held.
    """
    least, memory = state.spec.yielding.free_below_bytes, state.memory
    if reading.pool not in memory.quiet and not memory.is_settled(now, state.spec.release_timeout_seconds):
        return False
    grown = foreign - memory.quiet.get(reading.pool, 0)
    if grown < GROWN_BYTES:
        return False
    explains = grown >= least // GROWN_SHARE and reading.free_bytes + grown >= least
    return explains or reading.free_bytes < GROWN_BYTES


def _is_on_its_way(instance: Instance, pool: str) -> bool:
    return pool in instance.claims.fallen or (instance.is_leaving and bool(instance.claims.of(pool)))


def _press(state: State, pool: str, foreign: int, now: float) -> None:
    """Others want a device, for as long as no reading says otherwise."""
    before = state.yields.get(AUTO + pool)
    since = now if before is None else before.since
    because = f"other programs use {foreign / 2**30:.1f} GiB of {state.memory.pools[pool].label}"
    state.yields[AUTO + pool] = Yielding(AUTO + pool, (pool,), since, None, because)


def _relax(state: State, holder: str, now: float) -> None:
    """Enough is free: the yield ends if that stays so for a while."""
    yielding = state.yields.get(holder)
    if yielding is not None and yielding.until is None:
        state.yields[holder] = replace(yielding, until=now + state.spec.yielding.return_after_seconds)


def deadlines(state: State) -> Iterator[float]:
    """When a yield ends, and when those that drain for one have had their time."""
    bound = state.spec.yielding.drain_seconds
    for yielding in state.yields.values():
        if yielding.until is not None:
            yield yielding.until
        if (
            bound
            and yielding.since + bound > state.now
            and any(i.is_yielded and not i.is_leaving for i in state.instances.values())
        ):
            yield yielding.since + bound
