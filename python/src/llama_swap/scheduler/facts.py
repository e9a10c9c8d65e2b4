"""Recording what happened: each event changes the state by a few lines and decides nothing."""

import math
from collections.abc import Mapping

from llama_swap.scheduler import refusals
from llama_swap.scheduler.account import lines_of
from llama_swap.scheduler.commands import StopCause
from llama_swap.scheduler.events import (
    ConfigChanged,
    Event,
    LoadPostponed,
    MemoryMeasured,
    NeedAssessed,
    PinChanged,
    ProcessExited,
    ProcessReady,
    ReadinessFailed,
    RequestArrived,
    RequestGone,
    ShutdownRequested,
    UnloadRequested,
    YieldEnded,
    YieldRequested,
)
from llama_swap.scheduler.measured import may_try_again, note_departure, note_fitted, note_need, note_reading
from llama_swap.scheduler.policy.coexistence import policy_of
from llama_swap.scheduler.shares import SHARE_HALF_LIFE_SECONDS, Fading, Tab, learned_load
from llama_swap.scheduler.spec import Limits, ModelSpec, SchedulerSpec
from llama_swap.scheduler.state import READY, Failures, Instance, Phase, State, Yielding
from llama_swap.scheduler.yields import end_yield


def note(state: State, event: Event, now: float) -> str | None:
    """Record an event. One about a dead instance or an unknown request changes nothing.

    Returns:
        The model that it is about; None for none or several, and for the end of a lease, which is of no interest to
        its model unless something is decided on it.
    """
    if isinstance(event, RequestArrived):
        if event.request_id not in state.leases and event.request_id not in state.waiters:
            state.newcomer = event
        return event.model
    if isinstance(event, RequestGone):
        return _note_gone(state, event, now)
    about = _subject_of(state, event)
    state.calm_until = -math.inf
    _note_rare(state, event, now)
    return about


def _subject_of(state: State, event: Event) -> str | None:
    match event:
        case ProcessReady(instance_id) | ProcessExited(instance_id) | ReadinessFailed(instance_id):
            instance = state.instance_by_id(instance_id)
            return instance.model if instance is not None else None
        case UnloadRequested(model) | NeedAssessed(model) | PinChanged(model) | LoadPostponed(model):
            return model
        case _:
            return None


def _note_rare(state: State, event: Event, now: float) -> None:
    match event:
        case ProcessReady(instance_id):
            _note_ready(state, instance_id, now)
        case ReadinessFailed(instance_id, detail):
            instance = state.instance_by_id(instance_id)
            if instance is not None and instance.phase is Phase.STARTING:
                fail_start(state, instance, detail, (), now)
        case ProcessExited():
            _note_exit(state, event, now)
        case UnloadRequested(model):
            _note_unload(state, model)
        case ConfigChanged(spec):
            _note_config(state, spec)
        case ShutdownRequested():
            _note_shutdown(state, now)
        case _:
            _note_memory(state, event, now)


def _note_memory(state: State, event: Event, now: float) -> None:
    match event:
        case MemoryMeasured():
            note_reading(state, event, now)
        case NeedAssessed():
            note_need(state, event)
        case PinChanged(model, pinned):
            _note_pin(state, model, pinned=pinned)
        case LoadPostponed(model):
            _note_postponed(state, model, now)
        case YieldRequested(holder, devices, until, because):
            before = state.yields.get(holder)
            since = now if before is None else before.since
            state.yields[holder] = Yielding(holder, devices, since, until, because)
        case YieldEnded(holder):
            for name in [name for name in state.yields if holder in (None, name)]:
                end_yield(state, name, now)


def fail_start(state: State, instance: Instance, detail: str, output_tail: tuple[str, ...], now: float) -> None:
    """Record that an instance never became ready: it must go and its waiters are to be told why."""
    dismissal = refusals.start_failed(instance.model, detail, output_tail)
    instance.doom, instance.doom_cause = dismissal.because, StopCause.START_FAILED
    state.dismissals[instance.model] = dismissal
    _count_failure(state, instance, detail, now)


def _count_failure(state: State, instance: Instance, detail: str, now: float) -> None:
    if not state.is_current(instance):
        return  # it tells nothing about the configuration in force
    limits = state.spec.limits
    failures = state.failures.setdefault(instance.model, Failures())
    failures.count += 1
    failures.last = detail
    surplus = failures.count - limits.backoff_after_failures
    if limits.backoff_after_failures and surplus >= 0:
        failures.next_try_at = now + _pause(limits, surplus)
    if instance.model in state.returning:  # nobody asks for it, so there is no hurry from the first failure on
        state.returning[instance.model] = now + _pause(limits, failures.count - 1)


def _pause(limits: Limits, doublings: int) -> float:
    # The exponent is bounded because floats overflow long before a model that fails for months is repaired.
    return min(limits.backoff_max_seconds, limits.backoff_first_seconds * 2.0 ** min(doublings, 64))


def _note_gone(state: State, gone: RequestGone, now: float) -> str | None:
    request_id = gone.request_id
    instance = state.leases.pop(request_id, None)
    if instance is None:
        return _note_left(state, request_id)
    leases = instance.leases
    leases.discard(request_id)
    instance.last_used = now
    if request_id in state.tabs:
        _settle_tab(state, state.tabs.pop(request_id), now)
    if not leases:
        _note_idle(state, instance, now)
    if gone.served:
        instance.served += 1
        if state.failures:
            state.failures.pop(instance.model, None)
    return None


def _note_left(state: State, request_id: int) -> str | None:
    waiter = state.waiters.get(request_id)
    if waiter is None:
        return None
    state.dequeue(waiter)
    state.calm_until = -math.inf
    return waiter.model


def _note_idle(state: State, instance: Instance, now: float) -> None:
    """From now on others may have its place, or it may have to leave."""
    if state.queue or state.returning or instance.phase is not READY:
        state.calm_until = -math.inf
    elif (idle_seconds := instance.idle_seconds) is not None and now + idle_seconds < state.calm_until:
        state.calm_until = now + idle_seconds


def _settle_tab(state: State, tab: Tab, now: float) -> None:
    """Put the time that a request was served on the account of its caller."""
    caller, since = tab
    if caller not in state.shares:
        state.shares[caller] = Fading()
    state.shares[caller].add(now - since, now, SHARE_HALF_LIFE_SECONDS)


def _note_ready(state: State, instance_id: int, now: float) -> None:
    instance = state.instance_by_id(instance_id)
    if instance is not None and instance.phase is Phase.STARTING:
        state.loads[instance.model] = learned_load(state.loads.get(instance.model), now - instance.since)
        state.move(instance, Phase.READY, "its readiness probe succeeded", now)
        state.returning.pop(instance.model, None)
        instance.ready_at = now
        state.memory.expire(now)  # it may have taken other memory than was promised to it
        note_fitted(state, instance.model)


def _note_exit(state: State, exited: ProcessExited, now: float) -> None:
    instance = state.instance_by_id(exited.instance_id)
    if instance is None or instance.phase is Phase.RELEASING:
        return
    if instance.phase is Phase.STARTING:
        _note_failed_start(state, instance, exited, now)
    elif instance.phase is not Phase.STOPPING and not instance.served:
        _count_failure(state, instance, exited.detail, now)
    state.part(instance)
    note_departure(state, instance, exited.detail, now)


def _note_failed_start(state: State, instance: Instance, exited: ProcessExited, now: float) -> None:
    if exited.out_of_memory and instance.doom is None and may_try_again(state, instance):
        return
    fail_start(state, instance, exited.detail, exited.output_tail, now)
    if exited.out_of_memory:
        sums = lines_of(state, instance.model)
        state.dismissals[instance.model] = refusals.out_of_memory(instance.model, exited, sums)
        state.needs.pop(instance.model, None)


def _note_unload(state: State, model: str | None) -> None:
    for name in (model,) if model is not None else tuple(state.returning):
        state.returning.pop(name, None)
    for instance in state.instances.values():
        if model in (None, instance.model):
            instance.doom, instance.doom_cause = f"unload of {model or 'all models'} requested", StopCause.UNLOADED
            if instance.phase is Phase.STARTING:
                state.dismissals[instance.model] = refusals.unloaded_while_loading(instance.model)
    if model is not None and model in state.queue:
        state.dismissals.setdefault(model, refusals.unloaded_while_queued(model))


def _note_config(state: State, spec: SchedulerSpec) -> None:
    before = state.spec.models
    pinned = {model for model in state.returning if state.is_pinned(model)}
    state.spec, state.policy = spec, policy_of(spec)
    for instance in state.instances.values():
        if _is_same_process(spec.models, instance.spec):
            instance.spec = spec.models[instance.model]
    state.pins = {model: pinned for model, pinned in state.pins.items() if model in spec.models}
    state.heads.clear()
    _pin_all(state)
    state.returning = {
        model: at
        for model, at in state.returning.items()
        if model in spec.models and (state.is_pinned(model) or model not in pinned)
    }
    state.needs = {model: known for model, known in state.needs.items() if model in spec.models}
    for model in [m for m in state.failures if not _is_same_process(spec.models, before[m])]:
        del state.failures[model]
    for model in state.queue:
        if model not in spec.models:
            state.dismissals[model] = refusals.unknown(model)


def _is_same_process(models: Mapping[str, ModelSpec], old: ModelSpec) -> bool:
    new = models.get(old.model)
    return new is not None and new.fingerprint == old.fingerprint


def _note_shutdown(state: State, now: float) -> None:
    if state.closing_since is None:
        state.closing_since = now
    for instance in state.instances.values():
        instance.doom, instance.doom_cause = "the service is shutting down", StopCause.SHUTDOWN
    for model in state.queue:
        state.dismissals[model] = refusals.shutting_down(model)
    state.returning.clear()
    for instance in tuple(state.instances.values()):
        if instance.phase is Phase.RELEASING:  # there is nobody left who waits for its memory
            state.move(instance, Phase.GONE, "the service is shutting down", now)
            state.remove(instance)


def _note_pin(state: State, model: str, *, pinned: bool) -> None:
    if model in state.spec.models:
        state.pins[model] = pinned
        _pin_all(state)
        if not pinned:
            state.returning.pop(model, None)


def _note_postponed(state: State, model: str, now: float) -> None:
    failures = state.failures.get(model)
    if model in state.spec.models and model not in state.returning and state.closing_since is None:
        state.returning[model] = now + _pause(state.spec.limits, failures.count - 1 if failures is not None else 0)


def _pin_all(state: State) -> None:
    for instance in state.instances.values():
        instance.is_pinned = state.is_pinned(instance.model)
