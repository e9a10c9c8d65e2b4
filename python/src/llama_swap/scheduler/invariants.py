"""What must hold after every event; a violation is a defect of the scheduler."""

from llama_swap.scheduler.state import Instance, Phase, State


def check_invariants(state: State) -> None:
    """Check everything that must hold between two events.

    Raises:
        AssertionError: names the rule that is broken.
    """
    _require(state.newcomer is None and not state.dismissals, "a decision is pending")
    for model, instance in state.instances.items():
        _require(instance.model == model, f"{model}: instance of {instance.model}")
        _check_instance(state, instance)
    raised = (model for model, known in state.needs.items() if known.is_raised and known.is_spent)
    _require(not any(raised), "a raised need is asked for again")
    ids = [instance.instance_id for instance in state.instances.values()]
    _require(len(set(ids)) == len(ids), "an instance ID is used twice")
    _check_requests(state)
    if state.closing_since is not None:
        _require(not state.queue, "somebody waits during shutdown")
        _require(all(i.phase is Phase.STOPPING for i in state.instances.values()), "an instance stays at shutdown")


def _check_instance(state: State, instance: Instance) -> None:
    name = f"{instance.model} ({instance.phase})"
    _require(instance.phase is not Phase.GONE, f"{name}: is stored")
    _require(all(state.leases.get(r) is instance for r in instance.leases), f"{name}: leases differ")
    if instance.phase is Phase.STARTING:
        _require(not instance.leases, f"{name}: serves before it is ready")
    if instance.phase in (Phase.STARTING, Phase.READY):
        _require(state.is_current(instance), f"{name}: runs an outdated configuration")
        _require(not instance.is_yielded, f"{name}: stays on a yielded device")
        _require(instance.doom is None, f"{name}: should have been stopped: {instance.doom}")
    if instance.phase is Phase.READY:
        _require(instance.model not in state.queue, f"{name}: somebody waits for a ready model")
        _require(instance.ready_at is not None, f"{name}: has no time of becoming ready")
    if instance.phase is Phase.DRAINING:
        needed = bool(instance.leases) or (state.is_current(instance) and not instance.is_yielded)
        _require(needed, f"{name}: nothing is left to drain")
    if instance.phase is Phase.RELEASING:
        _require(instance.release_by is not None, f"{name}: its memory is waited for without bound")
        _require(not instance.leases, f"{name}: serves after its exit")
    _require(instance.is_pinned == state.is_pinned(instance.model), f"{name}: pinned differs")


def _check_requests(state: State) -> None:
    queued = {r: w for line in state.queue.values() for r, w in line.items()}
    _require(queued == state.waiters, "the queue and the waiters differ")
    _require(all(state.queue.values()), "a model without waiters is in the queue")
    _require(queued.keys().isdisjoint(state.leases), "a request waits and is served")
    for request_id, instance in state.leases.items():
        _require(request_id in instance.leases, f"request {request_id}: its instance does not know it")
        _require(state.instances.get(instance.model) is instance, f"request {request_id}: served by a dead instance")
    for model in state.queue:
        _require(model in state.spec.models, f"{model}: somebody waits for an unknown model")


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise AssertionError(rule)
