"""When the scheduler has to look again although nothing happened."""

from collections.abc import Iterator

from llama_swap.scheduler.reconcile import needs_start
from llama_swap.scheduler.state import State


def next_deadline(state: State) -> float | None:
    """The earliest of all times at which time alone changes a decision.

    A deadline that was reached is acted on and disappears, so whoever sleeps until it never wakes in a tight loop.
    """
    return min(_deadlines(state), default=None)


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
        if limits.max_wait_seconds and overdue_at > state.now and needs_start(state, model):
            yield overdue_at
