"""Deciding: bring the commands in line with the state, whatever the event was.

The steps are ordered so that each sees what the one before it settled: first who is refused, then which instance must
stop whatever happens, then who may have whose place, then who is served. Calling it again at the same time yields no
command: the state is settled.
"""

from dataclasses import replace

from llama_swap.scheduler import refusals
from llama_swap.scheduler.account import refusal_of
from llama_swap.scheduler.commands import Command, GrantLease, KillProcess, StartProcess, StopCause, StopProcess
from llama_swap.scheduler.deadline import calm_until
from llama_swap.scheduler.errands import run_errands
from llama_swap.scheduler.events import RequestArrived
from llama_swap.scheduler.facts import fail_start
from llama_swap.scheduler.measured import give_up_memory
from llama_swap.scheduler.memory import level_of
from llama_swap.scheduler.placing import confined_to, placements_of, waiters_in_order
from llama_swap.scheduler.policy.queue import Rank
from llama_swap.scheduler.policy.seating import Placement, Step
from llama_swap.scheduler.shares import USE_HALF_LIFE_SECONDS, Fading, Tab, penalty_seconds
from llama_swap.scheduler.state import READY, Instance, Phase, State, Waiter
from llama_swap.scheduler.yields import end_yield, words_of, yield_upon


def reconcile(state: State, now: float) -> list[Command]:
    """Decide what has to be done now."""
    commands: list[Command] = []
    if state.newcomer is not None:
        _admit(state, state.newcomer, commands, now)
    if now < state.calm_until:
        return commands  # the frequent case: ready models come and go in service, nobody waits
    _expire(state, commands, now)
    _dismiss(state, commands, now)
    _retire(state, commands, now)
    placements = _seat_all(state, commands, now)
    run_errands(state, placements, commands, now)
    state.calm_until = calm_until(state)
    return commands


def _seat_all(state: State, commands: list[Command], now: float) -> list[Placement]:
    """Let those start and leave who may; once more when one was refused or unloaded for whom others have waited."""
    while True:
        placements = placements_of(state, now)
        if _serve(state, placements, commands, now):
            continue
        for placement in placements:
            _seat(state, placement, commands, now)
        if not any(placement.step is Step.REFUSE for placement in placements):
            return placements


# --- a newcomer ----------------------------------------------------------------


def _admit(state: State, newcomer: RequestArrived | Waiter, commands: list[Command], now: float) -> None:
    state.newcomer = None
    instance = state.instances.get(newcomer.model)
    if instance is not None and instance.phase is READY and not instance.spec.concurrency_limit:
        _grant(state, newcomer, instance, commands)
    elif isinstance(newcomer, Waiter):
        _grant_queue_or_refuse(state, newcomer, commands, now)
    else:
        waiter = Waiter(newcomer.request_id, newcomer.model, now, newcomer.terms)
        _grant_queue_or_refuse(state, waiter, commands, now)


def _grant_queue_or_refuse(state: State, waiter: Waiter, commands: list[Command], now: float) -> None:
    limits, model = state.spec.limits, waiter.model
    spec, instance = state.spec.models.get(model), state.instances.get(model)
    failures = state.failures.get(model)
    if state.closing_since is not None:
        commands.append(refusals.dismissed(waiter, refusals.shutting_down(model)))
    elif spec is None:
        commands.append(refusals.dismissed(waiter, refusals.unknown(model)))
    elif spec.concurrency_limit and _concurrency(state, model) >= spec.concurrency_limit:
        commands.append(refusals.too_many(waiter, spec.concurrency_limit))
    elif instance is not None and instance.phase is Phase.READY:
        _grant(state, waiter, instance, commands)
    elif failures is not None and failures.next_try_at is not None and failures.next_try_at > now:
        commands.append(refusals.backing_off(waiter, failures, now))
    elif limits.queue_limit and len(state.waiters) >= limits.queue_limit:
        oldest = min(w.arrived_at for w in state.waiters.values())
        commands.append(refusals.queue_full(waiter, len(state.waiters), limits, now - oldest))
    else:
        state.enqueue(_with_penalty(state, waiter, now))


def _concurrency(state: State, model: str) -> int:
    instance = state.instances.get(model)
    return len(state.queue.get(model, ())) + (len(instance.leases) if instance is not None else 0)


def _with_penalty(state: State, waiter: Waiter, now: float) -> Waiter:
    most = state.spec.limits.fair_share_seconds
    if not most:
        return waiter
    return waiter._replace(penalty_seconds=penalty_seconds(waiter.terms, state.shares, state.tabs, now, most))


def _grant(state: State, request: RequestArrived | Waiter, instance: Instance, commands: list[Command]) -> None:
    request_id, model, terms = request.request_id, instance.model, request.terms
    state.leases[request_id] = instance
    instance.leases.add(request_id)
    if terms.keep_alive_seconds is not None:
        instance.keep_alive_seconds = terms.keep_alive_seconds
    spec = state.spec
    if spec.fit is not None:
        use = state.uses.get(model)
        if use is None:
            use = state.uses[model] = Fading()
        use.add(1.0, state.now, USE_HALF_LIFE_SECONDS)
    if spec.limits.fair_share_seconds:
        state.tabs[request_id] = Tab(terms.caller, state.now)
    commands.append(GrantLease(request_id, instance.instance_id, model))


# --- what time and facts force ----------------------------------------------------


def _expire(state: State, commands: list[Command], now: float) -> None:
    for holder in [y.holder for y in state.yields.values() if y.until is not None and y.until <= now]:
        end_yield(state, holder, now)
    for instance in tuple(state.instances.values()):
        deadline = instance.deadline
        if deadline is None or deadline > now:
            continue
        if instance.phase is Phase.STARTING:
            detail = f"health check timed out after {instance.spec.start_timeout_seconds:g}s (healthCheckTimeout)"
            fail_start(state, instance, detail, (), now)
        elif instance.phase is Phase.STOPPING:
            _kill(instance, commands, now)
        elif instance.phase is Phase.RELEASING:
            give_up_memory(state, instance, now)
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
        if instance.is_leaving:
            continue
        _retire_yielded(state, instance, now)
        if instance.doom is not None:
            _stop(state, _ending(instance, instance.doom, instance.doom_cause), commands, now)
        elif not state.is_current(instance):
            _retire_outdated(state, instance, commands, now)
        else:
            _unload_idle(state, instance, commands, now)


def _unload_idle(state: State, instance: Instance, commands: list[Command], now: float) -> bool:
    """Stop an instance that nobody has used for long enough; whether it was."""
    unload_at = instance.unload_at
    if unload_at is None or unload_at > now:
        return False
    because = f"idle for {instance.idle_seconds:g} s ({_idle_rule(instance)})"
    _stop(state, _ending(instance, because, StopCause.IDLE), commands, now)
    return True


def _idle_rule(instance: Instance) -> str:
    return "ttl" if instance.keep_alive_seconds is None else "keep_alive"


def _retire_yielded(state: State, instance: Instance, now: float) -> None:
    """Doom what has to leave a yielded device: at once when idle, after the time to drain when in use."""
    yielding = yield_upon(state, instance)
    instance.is_yielded = yielding is not None
    if yielding is None or instance.doom is not None:
        return
    because = f"its device is left to others: {words_of(yielding)}"
    bound = state.spec.yielding.drain_seconds
    is_over = bool(bound) and now >= yielding.since + bound
    if is_over or not instance.leases:
        instance.doom, instance.doom_cause = because, StopCause.YIELDED
        if instance.is_pinned:
            state.returning[instance.model] = now
    elif instance.phase is Phase.READY:
        state.move(instance, Phase.DRAINING, because, now)


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
    command = replace(command, look_first=_may_have_grown(state, instance))
    state.move(instance, Phase.STOPPING, command.because, now)
    commands.append(command)
    if not instance.spec.stop_grace_seconds:
        _kill(instance, commands, now)


def _may_have_grown(state: State, instance: Instance) -> bool:
    """Whether it was used since the last reading, where there are any."""
    memory = state.memory
    if memory.at is None or not (memory.has_devices or state.is_ruled_by_memory) or state.closing_since is not None:
        return False
    return instance.ready_at is not None and (bool(instance.leases) or instance.used_at > memory.at)


def _kill(instance: Instance, commands: list[Command], now: float) -> None:
    because = f"{instance.model} did not exit within {instance.spec.stop_grace_seconds:g} s (unloadTimeout)"
    instance.killed_at, instance.because = now, because
    commands.append(KillProcess(instance.instance_id, instance.model, because))


# --- who may have whose place ---------------------------------------------------------


def _serve(state: State, placements: list[Placement], commands: list[Command], now: float) -> bool:
    """Serve the waiters of ready models, and those of draining ones that come before whom the drain is for.

    Returns:
        Whether one that drains no more had been idle for long enough meanwhile, and leaves after all.
    """
    has_unloaded = False
    claims: dict[str, Rank] = {}
    for placement in placements:
        if placement.step in (Step.DRAIN, Step.EVICT):
            claims |= dict.fromkeys(placement.in_the_way, placement.candidate.rank)
    for instance in state.instances.values():
        if instance.phase is Phase.DRAINING and state.is_current(instance) and not instance.is_yielded:
            head = state.first_waiter(instance.model)
            claim = claims.get(instance.model)
            if claim is None or (head is not None and state.rank(head) < claim):
                state.move(
                    instance, Phase.READY, "nobody needs its place any more" if claim is None else "its turn", now
                )
                _serve_line(state, instance, commands, before=claim)
                has_unloaded |= _unload_idle(state, instance, commands, now)
        elif instance.phase is Phase.READY:
            _serve_line(state, instance, commands, before=None)
    return has_unloaded


def _serve_line(state: State, instance: Instance, commands: list[Command], *, before: Rank | None) -> None:
    for waiter in tuple(state.queue.get(instance.model, {}).values()):
        if before is None or state.rank(waiter) < before:
            state.dequeue(waiter)
            _grant(state, waiter, instance, commands)


def _seat(state: State, placement: Placement, commands: list[Command], now: float) -> None:
    model = placement.model
    if placement.step is Step.START:
        _start(state, placement, commands, now)
    elif placement.step is Step.REFUSE:
        _refuse(state, placement, commands)
    elif placement.step is Step.EVICT:
        for victim in placement.in_the_way:
            instance = state.instances[victim]
            if not instance.is_leaving:
                idle = f"nobody waits for {victim}" if instance.phase is Phase.STARTING else f"{victim} is idle"
                because = f"{model} needs the place of {victim}; {idle}"
                _stop(state, _ending(instance, because, StopCause.EVICTED, model), commands, now)
    elif placement.step is Step.DRAIN:
        waited = f"{model} has waited {state.spec.limits.max_wait_seconds:g} s for"
        needs = f"{model} needs" if placement.needs_reading else waited
        for victim in placement.in_the_way:
            busy = state.instances.get(victim)  # one that is to start before it may be in its way already
            if busy is not None and busy.phase is Phase.READY:
                state.move(busy, Phase.DRAINING, f"{needs} the place of {victim}", now)


def _start(state: State, placement: Placement, commands: list[Command], now: float) -> None:
    model = placement.model
    waiting = len(state.queue.get(model, ()))
    because = f"{waiting} requests wait for {model}" if waiting > 1 else f"a request waits for {model}"
    if not waiting:
        how = "is pinned and returns" if state.is_pinned(model) else "starts"
        because = f"{model} {how} by itself: there is room for it"
    state.last_instance_id += 1
    instance = Instance(state.last_instance_id, model, state.spec.models[model], because, now)
    instance.is_pinned, instance.is_alone = state.is_pinned(model), placement.is_alone
    instance.claims.reserved, instance.claims.is_reserved = dict(placement.taken), state.is_ruled_by_memory
    instance.devices = confined_to(state, placement)
    instance.before = {device: level_of(state.memory.pools[device]) for device in state.memory.devices}
    state.instances[model] = instance
    commands.append(StartProcess(instance.instance_id, model, because, instance.devices))


def _refuse(state: State, placement: Placement, commands: list[Command]) -> None:
    model = placement.model
    dismissal = refusal_of(state, placement)
    for waiter in tuple(state.queue[model].values()):
        state.dequeue(waiter)
        commands.append(refusals.dismissed(waiter, dismissal))
