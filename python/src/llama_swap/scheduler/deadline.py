"""When the scheduler has to look again although nothing happened."""

import math
from collections.abc import Iterator

from llama_swap.scheduler import errands, yields
from llama_swap.scheduler.state import Phase, State

NEVER = math.inf


def calm_until(state: State) -> float:
    """Until when ready models may be used without anything to decide; see ``State.calm_until``."""
    return min(_deadlines(state), default=NEVER)


def _deadlines(state: State) -> Iterator[float]:
    for instance in state.instances.values():
        deadline = instance.deadline
        if deadline is not None:
            yield deadline
    for failures in state.failures.values():
        if failures.next_try_at is not None:
            yield failures.next_try_at
    limits = state.spec.limits
    for model, line in state.queue.items():
        arrived_at = next(iter(line.values())).arrived_at
        if limits.queue_timeout_seconds:
            yield arrived_at + limits.queue_timeout_seconds
        overdue_at = arrived_at + limits.max_wait_seconds
        if limits.max_wait_seconds and overdue_at > state.now and state.needs_start(model):
            yield overdue_at
    yield from errands.deadlines(state)
    yield from yields.deadlines(state)
    for at in state.returning.values():
        yield from (due for due in (at, at + limits.max_wait_seconds) if due > state.now)
    if state.queue or state.returning:
        yield from _rested(state)


def _rested(state: State) -> Iterator[float]:
    """When models have been there for the minimum residency, so that others may have their places."""
    fit = state.spec.fit
    for instance in state.instances.values() if fit is not None else ():
        if fit is not None and instance.phase is Phase.READY and instance.ready_at is not None:
            rested_at = instance.ready_at + fit.min_residency_seconds
            if rested_at > state.now:
                yield rested_at
