"""Recording what happened: each event changes the state by a few lines and decides nothing."""

import math
from collections.abc import Mapping

from llama_swap.scheduler import refusals
from llama_swap.scheduler.commands import StopCause
from llama_swap.scheduler.events import (
    ConfigChanged,
    Event,
    ProcessExited,
    ProcessReady,
    ReadinessFailed,
    RequestArrived,
    RequestGone,
    ShutdownRequested,
    UnloadRequested,
)
from llama_swap.scheduler.policy.coexistence import policy_of
from llama_swap.scheduler.spec import ModelSpec, SchedulerSpec
from llama_swap.scheduler.state import Failures, Instance, Phase, State, Waiter


def note(state: State, event: Event, now: float) -> None:
    """Record an event. One about a dead instance or an unknown request changes nothing."""
    match event:
        case RequestArrived(request_id, model):
            if request_id not in state.leases and request_id not in state.waiters:
                state.newcomers.append(Waiter(request_id, model, now))
        case RequestGone(request_id, served):
            _note_gone(state, request_id, now, served=served)
        case _:
            state.calm_until = -math.inf
            _note_rare(state, event, now)


def _note_rare(state: State, event: Event, now: float) -> None:
    match event:
        case ProcessReady(instance_id):
            _note_ready(state, instance_id, now)
        case ReadinessFailed(instance_id, detail):
            instance = state.instance_by_id(instance_id)
            if instance is not None and instance.phase is Phase.STARTING:
                fail_start(state, instance, detail, (), now)
        case ProcessExited(instance_id, detail, output_tail):
            _note_exit(state, instance_id, detail, output_tail, now)
        case UnloadRequested(model):
            _note_unload(state, model)
        case ConfigChanged(spec):
            _note_config(state, spec)
        case ShutdownRequested():
            _note_shutdown(state, now)


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
        # The exponent is bounded because floats overflow long before a model that fails for months is repaired.
        pause = min(limits.backoff_max_seconds, limits.backoff_first_seconds * 2.0 ** min(surplus, 64))
        failures.next_try_at = now + pause


def _note_gone(state: State, request_id: int, now: float, *, served: bool) -> None:
    instance = state.leases.pop(request_id, None)
    if instance is None:
        waiter = state.waiters.get(request_id)
        if waiter is not None:
            state.dequeue(waiter)
        return
    instance.leases.discard(request_id)
    instance.last_used = now
    unload_at = instance.unload_at
    if unload_at is not None and unload_at < state.calm_until:
        state.calm_until = unload_at
    if served:
        instance.served += 1
        if state.failures:
            state.failures.pop(instance.model, None)


def _note_ready(state: State, instance_id: int, now: float) -> None:
    instance = state.instance_by_id(instance_id)
    if instance is not None and instance.phase is Phase.STARTING:
        state.move(instance, Phase.READY, "its readiness probe succeeded", now)
        instance.ready_at = now


def _note_exit(state: State, instance_id: int, detail: str, output_tail: tuple[str, ...], now: float) -> None:
    instance = state.instance_by_id(instance_id)
    if instance is None:
        return
    if instance.phase is Phase.STARTING:
        fail_start(state, instance, detail, output_tail, now)
    elif instance.phase is not Phase.STOPPING and not instance.served:
        _count_failure(state, instance, detail, now)
    state.move(instance, Phase.GONE, detail, now)
    state.remove(instance)


def _note_unload(state: State, model: str | None) -> None:
    for instance in state.instances.values():
        if model in (None, instance.model):
            instance.doom, instance.doom_cause = f"unload of {model or 'all models'} requested", StopCause.UNLOADED
            if instance.phase is Phase.STARTING:
                state.dismissals[instance.model] = refusals.unloaded_while_loading(instance.model)
    if model is not None and model in state.queue:
        state.dismissals.setdefault(model, refusals.unloaded_while_queued(model))


def _note_config(state: State, spec: SchedulerSpec) -> None:
    before = state.spec.models
    state.spec, state.policy = spec, policy_of(spec)
    for instance in state.instances.values():
        if _is_same_process(spec.models, instance.spec):
            instance.spec = spec.models[instance.model]
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
