"""The strategies of selectors, as tables of situations."""

import pytest

from llama_swap.api.selectors import TargetLoad, Turns, Warmth, choose_spillover, choose_warm

READY, STARTING, COLD = Warmth.READY, Warmth.STARTING, Warmth.COLD


@pytest.mark.parametrize(
    ("warmth", "chosen"),
    [
        ({"a": COLD, "b": COLD, "c": COLD}, "a"),
        ({"a": COLD, "b": COLD, "c": READY}, "c"),
        ({"a": COLD, "b": STARTING, "c": READY}, "c"),
        ({"a": COLD, "b": STARTING, "c": STARTING}, "b"),
        ({"a": READY, "b": READY, "c": COLD}, "a"),
    ],
)
def test_warm_prefers_ready_then_starting_then_the_first(warmth, chosen):
    """A warm selector avoids loads where it can."""
    loads = {name: TargetLoad(state, 0) for name, state in warmth.items()}
    assert choose_warm(("a", "b", "c"), loads) == chosen


@pytest.mark.parametrize(
    ("loads", "limit", "chosen"),
    [
        ({"a": (COLD, 0), "b": (COLD, 0)}, 1, "a"),
        ({"a": (READY, 0), "b": (COLD, 0)}, 1, "a"),
        ({"a": (READY, 1), "b": (COLD, 0)}, 1, "b"),
        ({"a": (READY, 1), "b": (COLD, 0)}, 2, "a"),
        ({"a": (COLD, 1), "b": (COLD, 0)}, 1, "b"),
        ({"a": (READY, 2), "b": (READY, 1)}, 1, "b"),
        ({"a": (READY, 1), "b": (READY, 0)}, 2, "b"),
        ({"a": (COLD, 0), "b": (READY, 0)}, 1, "b"),
    ],
)
def test_spillover_fills_what_is_loaded_before_waking_the_next(loads, limit, chosen):
    """A cold target is woken only when every loaded one has its fill."""
    given = {name: TargetLoad(*load) for name, load in loads.items()}
    assert choose_spillover(("a", "b"), given, limit=limit, turn=0) == chosen


def test_equally_busy_targets_take_turns():
    """Ties go round."""
    loads = {name: TargetLoad(READY, 0) for name in "abc"}
    turns = Turns()
    chosen = [choose_spillover(("a", "b", "c"), loads, limit=1, turn=turns.next("s")) for _ in range(6)]
    assert chosen == ["a", "b", "c", "a", "b", "c"]
