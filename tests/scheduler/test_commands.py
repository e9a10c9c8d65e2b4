"""What a command says besides its order."""

import pytest

from llama_swap.errors import Reason
from llama_swap.scheduler.commands import RejectReason, StopCause


@pytest.mark.parametrize("reason", list(RejectReason))
def test_every_refusal_has_a_row_in_the_table_of_errors(reason):
    """The shell turns the one into the other by value."""
    assert Reason(reason.value).value == reason.value


def stopped_by(play, cause):
    """A conversation that ends in a stop for this cause."""
    p = play("ab", ttl_seconds=60)
    if cause is StopCause.START_FAILED:
        return p.arrives(1, "a").expect("start a").never_ready("a", "x").expect("reject 1 start_failed", "stop a")
    p.loaded("a")
    return {
        StopCause.EVICTED: lambda: p.arrives(2, "b"),
        StopCause.IDLE: lambda: p.wakes(60),
        StopCause.UNLOADED: lambda: p.unloads("a"),
        StopCause.CONFIG_CHANGED: lambda: p.reloads(p.without("a")),
        StopCause.SHUTDOWN: p.shuts_down,
        StopCause.YIELDED: p.yields,
    }[cause]().expect("stop a")


@pytest.mark.parametrize("cause", list(StopCause))
def test_a_stop_says_its_cause(play, cause):
    """As a word to count by, and for whom the place is."""
    stop = stopped_by(play, cause).commands[-1]
    assert (stop.cause, stop.needed_by) == (cause, "b" if cause is StopCause.EVICTED else "")
