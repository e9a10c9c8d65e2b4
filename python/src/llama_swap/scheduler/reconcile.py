"""Deciding: bring the commands in line with the state, whatever the event was.

The steps are ordered so that each sees what the one before it settled: first who is refused, then which instance must
stop whatever happens, then who may have whose place, then who is served. Calling it again at the same time yields no
command: the state is settled.
"""

from llama_swap.scheduler import refusals
from llama_swap.scheduler.commands import Command, GrantLease, KillProcess, StartProcess, StopCause, StopProcess
from llama_swap.scheduler.deadline import calm_until
from llama_swap.scheduler.facts import fail_start
from llama_swap.scheduler.policy.queue import Rank
from llama_swap.scheduler.policy.seating import Candidate, Occupant, Placement, Step, Use, place
from llama_swap.scheduler.state import Instance, Phase, State, Waiter


def reconcile(state: State, now: float) -> list[Command]:
    """Decide what has to be done now."""
    commands: list[Command] = []
    if state.newcomers:
        _admit(state, commands, now)
    if now < state.calm_until:
        return commands  # the frequent case: ready models come and go in service, nobody waits
    _expire(state, commands, now)
    _dismiss(state, commands, now)
    _retire(state, commands, now)
    placements = placements_of(state, now)
    _serve(state, placements, commands, now)
    for placement in placements:
        _seat(state, placement, commands, now)
    state.calm_until = calm_until(state)
    return commands


# --- newcomers -----------------------------------------------------------------


def _admit(state: State, commands: list[Command], now: float) -> None:
    for waiter in state.newcomers:
        spec = state.spec.models.get(waiter.model)
        instance = state.instances.get(waiter.model)
        if state.closing_since is not None:
            commands.append(refusals.dismissed(waiter, refusals.shutting_down(waiter.model)))
        elif spec is None:
            commands.append(refusals.dismissed(waiter, refusals.unknown(waiter.model)))
        elif spec.concurrency_limit and _concurrency(state, waiter.model) >= spec.concurrency_limit:
            commands.append(refusals.too_many(waiter, spec.concurrency_limit))
        elif instance is not None and instance.phase is Phase.READY:
            _grant(state, waiter, instance, commands)
        else:
            _queue_or_refuse(state, waiter, commands, now)
    state.newcomers.clear()


def _concurrency(state: State, model: str) -> int:
    instance = state.instances.get(model)
    return len(state.queue.get(model, ())) + (len(instance.leases) if instance is not None else 0)


def _queue_or_refuse(state: State, waiter: Waiter, commands: list[Command], now: float) -> None:
    limits = state.spec.limits
    failures = state.failures.get(waiter.model)
    if failures is not None and failures.next_try_at is not None and failures.next_try_at > now:
        commands.append(refusals.backing_off(waiter, failures, now))
    elif limits.queue_limit and len(state.waiters) >= limits.queue_limit:
        oldest = min(w.arrived_at for w in state.waiters.values())
        commands.append(refusals.queue_full(waiter, len(state.waiters), limits, now - oldest))
    else:
        state.enqueue(waiter)


def _grant(state: State, waiter: Waiter, instance: Instance, commands: list[Command]) -> None:
    state.lease(waiter.request_id, instance)
    commands.append(GrantLease(waiter.request_id, instance.instance_id, waiter.model, f"{waiter.model} is ready"))


# --- what time and facts force ----------------------------------------------------


def _expire(state: State, commands: list[Command], now: float) -> None:
    for instance in state.instances.values():
        deadline = instance.deadline
        if deadline is None or deadline > now:
            continue
        if instance.phase is Phase.STARTING:
            detail = f"health check timed out after {instance.spec.start_timeout_seconds:g}s (healthCheckTimeout)"
            fail_start(state, instance, detail, (), now)
        elif instance.phase is Phase.STOPPING:
            _kill(instance, commands, now)
    for failures in state.failures.values():
        if failures.next_try_at is not None and failures.next_try_at <= now:
            failures.next_try_at = None


def _dismiss(state: State, commands: list[Command], now: float) -> None:
    for model, dismissal in state.dismissals.items():
        for waiter in tuple(state.queue.get(model, {}).values()):
            state.dequeue(waiter)
            commands.append(refusals.dismissed(waiter, dismissal))
    state.dismissals.clear()
    for model, failures in state.failures.items():
        if failures.next_try_at is not None:
            for waiter in tuple(state.queue.get(model, {}).values()):
                state.dequeue(waiter)
                commands.append(refusals.backing_off(waiter, failures, now))
    _time_out(state, commands, now)


def _time_out(state: State, commands: list[Command], now: float) -> None:
    limits = state.spec.limits
    if not limits.queue_timeout_seconds:
        return
    in_order = waiters_in_order(state)
    for position, waiter in enumerate(in_order, start=1):
        if waiter.arrived_at + limits.queue_timeout_seconds <= now:
            state.dequeue(waiter)
            commands.append(refusals.queue_timeout(waiter, limits, position, len(in_order)))


def _retire(state: State, commands: list[Command], now: float) -> None:
    for instance in state.instances.values():
        if instance.phase is Phase.STOPPING:
            continue
        unload_at = instance.unload_at
        if instance.doom is not None:
            _stop(state, _ending(instance, instance.doom, instance.doom_cause), commands, now)
        elif not state.is_current(instance):
            _retire_outdated(state, instance, commands, now)
        elif unload_at is not None and unload_at <= now:
            because = f"idle for {instance.spec.ttl_seconds:g} s (ttl)"
            _stop(state, _ending(instance, because, StopCause.IDLE), commands, now)


def _retire_outdated(state: State, instance: Instance, commands: list[Command], now: float) -> None:
    because = f"the configuration of {instance.model} changed"
    if not instance.leases:
        _stop(state, _ending(instance, because, StopCause.CONFIG_CHANGED), commands, now)
    elif instance.phase is Phase.READY:
        state.move(instance, Phase.DRAINING, because, now)


def _ending(instance: Instance, because: str, cause: StopCause, needed_by: str = "") -> StopProcess:
    return StopProcess(instance.instance_id, instance.model, because, cause, needed_by)


def _stop(state: State, command: StopProcess, commands: list[Command], now: float) -> None:
    instance = state.instances[command.model]
    state.move(instance, Phase.STOPPING, command.because, now)
    commands.append(command)
    if not instance.spec.stop_grace_seconds:
        _kill(instance, commands, now)


def _kill(instance: Instance, commands: list[Command], now: float) -> None:
    because = f"{instance.model} did not exit within {instance.spec.stop_grace_seconds:g} s (unloadTimeout)"
    instance.killed_at, instance.because = now, because
    commands.append(KillProcess(instance.instance_id, instance.model, because))


# --- who may have whose place ---------------------------------------------------------


def waiters_in_order(state: State) -> list[Waiter]:
    """All waiters as they would be served: models in the order of the queue, those of a model together."""
    return [waiter for head in state.lines() for waiter in state.queue[head.model].values()]


def placements_of(state: State, now: float) -> list[Placement]:
    """Judge every model that has waiters and no instance that can serve them."""
    candidates = [
        Candidate(head.model, state.rank(head), state.is_overdue(head, now))
        for head in state.lines()
        if state.needs_start(head.model)
    ]
    if not candidates:
        return []
    return place(candidates, occupants_of(state), state.policy)


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
    if instance.phase is Phase.STOPPING:
        return Occupant(model, Use.LEAVING)
    if head is None:
        return Occupant(model, Use.SERVING if instance.leases else Use.IDLE)
    if instance.phase is Phase.STARTING:
        return Occupant(model, Use.LOADING)
    if instance.leases or instance.phase is Phase.READY:  # its waiters are served in this very step
        return Occupant(model, Use.SERVING)
    return Occupant(model, Use.IDLE, state.rank(head))


def _serve(state: State, placements: list[Placement], commands: list[Command], now: float) -> None:
    """Serve the waiters of ready models, and those of draining ones that come before whom the drain is for."""
    claims: dict[str, Rank] = {}
    for placement in placements:
        if placement.step in (Step.DRAIN, Step.EVICT):
            claims |= dict.fromkeys(placement.in_the_way, placement.candidate.rank)
    for instance in state.instances.values():
        if instance.phase is Phase.DRAINING and state.is_current(instance):
            head = state.first_waiter(instance.model)
            claim = claims.get(instance.model)
            if claim is None or (head is not None and state.rank(head) < claim):
                state.move(
                    instance, Phase.READY, "nobody needs its place any more" if claim is None else "its turn", now
                )
                _serve_line(state, instance, commands, before=claim)
        elif instance.phase is Phase.READY:
            _serve_line(state, instance, commands, before=None)


def _serve_line(state: State, instance: Instance, commands: list[Command], *, before: Rank | None) -> None:
    for waiter in tuple(state.queue.get(instance.model, {}).values()):
        if before is None or state.rank(waiter) < before:
            state.dequeue(waiter)
            _grant(state, waiter, instance, commands)


def _seat(state: State, placement: Placement, commands: list[Command], now: float) -> None:
    model = placement.model
    if placement.step is Step.START:
        _start(state, model, commands, now)
    elif placement.step is Step.EVICT:
        for victim in placement.in_the_way:
            instance = state.instances[victim]
            if instance.phase is not Phase.STOPPING:
                idle = f"nobody waits for {victim}" if instance.phase is Phase.STARTING else f"{victim} is idle"
                because = f"{model} needs the place of {victim}; {idle}"
                _stop(state, _ending(instance, because, StopCause.EVICTED, model), commands, now)
    elif placement.step is Step.DRAIN:
        waited = state.spec.limits.max_wait_seconds
        for victim in placement.in_the_way:
            instance = state.instances[victim]
            if instance.phase is Phase.READY:
                state.move(instance, Phase.DRAINING, f"{model} has waited {waited:g} s for the place of {victim}", now)


def _start(state: State, model: str, commands: list[Command], now: float) -> None:
    waiting = len(state.queue[model])
    because = f"{waiting} requests wait for {model}" if waiting > 1 else f"a request waits for {model}"
    state.last_instance_id += 1
    instance = Instance(state.last_instance_id, model, state.spec.models[model], because, now)
    state.instances[model] = instance
    commands.append(StartProcess(instance.instance_id, model, because))
