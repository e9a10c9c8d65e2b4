"""Recording what was measured and found out about memory, and what exits leave behind of it."""

from collections.abc import Mapping
from dataclasses import replace

from llama_swap.scheduler import ledger
from llama_swap.scheduler.events import MemoryMeasured, NeedAssessed
from llama_swap.scheduler.instance import Instance, Phase
from llama_swap.scheduler.memory import HOST, Need, PoolReading
from llama_swap.scheduler.state import Assessed, State
from llama_swap.scheduler.yields import note_pressure

RAISED = 1.2
"""After memory ran out a model is taken to need so many times what was thought."""

RAISED_PEAK = 1.1
"""Or so many times what was seen, if that is more."""


def note_reading(state: State, event: MemoryMeasured, now: float) -> None:
    """Note what the pools hold, which memory has come back, and whether others press."""
    memory = state.memory
    is_late = memory.at is not None and event.at < memory.at
    unseen = [instance for instance in state.instances.values() if not instance.is_looked_at]
    for instance in state.instances.values() if not is_late else ():
        instance.is_looked_at |= instance.ready_at is not None and event.at >= instance.ready_at
        for reading in event.pools:
            if reading.pool == HOST or not event.problem:
                ledger.note_held(instance, reading)
    memory.take(event, now, state.instances.values())
    if is_late:
        return
    for instance in tuple(state.instances.values()):
        if instance.phase is Phase.RELEASING and _shows_return(instance, event, memory.pools):
            memory.lag_seconds = now - instance.since
            _forget(state, instance, f"its memory came back after {memory.lag_seconds:.1f} s", now)
    note_pressure(state, [instance for instance in unseen if instance.is_looked_at], now)


def _shows_return(instance: Instance, event: MemoryMeasured, pools: Mapping[str, PoolReading]) -> bool:
    return not event.problem and event.at >= instance.since and ledger.watch_return(instance, pools)


def note_departure(state: State, instance: Instance, detail: str, now: float) -> None:
    """Note that a process is gone; its place stays taken until the driver has given its memory back."""
    state.memory.exited_at = now
    state.memory.expire(now)
    must_return = ledger.part(instance, state.memory)
    if must_return and state.closing_since is None and state.spec.release_timeout_seconds:
        state.move(instance, Phase.RELEASING, f"{detail}; its memory is on its way back", now)
        instance.release_by = now + state.spec.release_timeout_seconds
    else:
        _forget(state, instance, detail, now)


def give_up_memory(state: State, instance: Instance, now: float) -> None:
    """The memory of an exited process has not come back in time: count with what is left."""
    state.memory.lag_seconds = now - instance.since
    state.memory.expire(now)
    _forget(state, instance, f"its memory has not come back within {now - instance.since:.1f} s", now)


def _forget(state: State, instance: Instance, because: str, now: float) -> None:
    state.move(instance, Phase.GONE, because, now)
    state.remove(instance)


def note_need(state: State, event: NeedAssessed) -> None:
    """Note what a model needs; an answer about another configuration than the one in force tells nothing."""
    model = event.model
    state.assessing.discard((model, event.fingerprint))
    spec = state.spec.models.get(model)
    known = state.needs.get(model)
    if spec is None or spec.fingerprint != event.fingerprint:
        return
    if known is None or not known.is_raised or known.fingerprint != event.fingerprint:
        state.needs[model] = Assessed(event.fingerprint, event.need)


def note_fitted(state: State, model: str) -> None:
    """It became ready, so what was tried after memory ran out is right."""
    known = state.needs.get(model)
    if known is not None and known.is_raised:
        state.needs[model] = replace(known, is_raised=False)


def may_try_again(state: State, instance: Instance) -> bool:
    """Memory ran out while it loaded: raise what it needs and let those who wait stay; whether that may help.

    It may once, and only if there was somebody beside it who can leave.
    """
    model = instance.model
    known = state.needs.get(model)
    if not state.is_ruled_by_memory or known is None or not state.is_current(instance):
        return False
    if known.is_raised or instance.is_alone:
        return False
    on_devices = sum(instance.claims.peak.get(pool, 0) for pool in state.memory.devices)
    on_host = instance.claims.peak.get(HOST, 0) if not on_devices else 0
    need = _raised(known.need, on_devices, on_host)
    state.needs[model] = replace(known, need=need, is_raised=True, is_spent=False)
    return True


def _raised(need: Need, peak_bytes: int, peak_host_bytes: int) -> Need:
    thought = need.device_bytes or sum(need.by_device.values())
    device = max(int(RAISED * thought), int(RAISED_PEAK * peak_bytes))
    host = max(int(RAISED * need.host_bytes), int(RAISED_PEAK * peak_host_bytes))
    return replace(
        need,
        device_bytes=device,
        host_bytes=host,
        by_device={name: int(RAISED * size) for name, size in need.by_device.items()},
        added_bytes=need.added_bytes + device - thought,
        added_host_bytes=need.added_host_bytes + host - need.host_bytes,
    )
