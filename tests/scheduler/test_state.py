"""The table of transitions, and that the invariants notice what is wrong."""

import pytest

from llama_swap.scheduler import InvalidTransition, Phase
from llama_swap.scheduler.invariants import check_invariants
from llama_swap.scheduler.spec import GroupSpec
from llama_swap.scheduler.state import TRANSITIONS

ALLOWED = {
    ("starting", "ready"), ("starting", "stopping"), ("starting", "releasing"), ("starting", "gone"),
    ("ready", "draining"), ("ready", "stopping"), ("ready", "releasing"), ("ready", "gone"),
    ("draining", "ready"), ("draining", "stopping"), ("draining", "releasing"), ("draining", "gone"),
    ("stopping", "releasing"), ("stopping", "gone"), ("releasing", "gone"),
}  # fmt: skip


@pytest.mark.parametrize("before", list(Phase))
@pytest.mark.parametrize("after", list(Phase))
def test_the_table_is_the_truth(play, before, after):
    """Every step that is not in it is a defect."""
    p = play("a").loaded("a")
    state = p.scheduler._state.copy()
    instance = state.instances["a"]
    instance.phase = before
    if (before, after) in ALLOWED:
        state.move(instance, after, "a test", 7)
        assert (instance.phase, instance.because, instance.since) == (after, "a test", 7)
        assert state.moves[-1].phase is after
    else:
        with pytest.raises(InvalidTransition, match=f"a cannot go from {before} to {after}"):
            state.move(instance, after, "a test", 7)


def test_every_phase_has_a_row():
    """A phase without one would raise KeyError instead of the defect's name."""
    assert set(TRANSITIONS) == set(Phase)


def _second_life(state):
    state.instances["a"].instance_id = state.instances["b"].instance_id


def _lost_lease(state):
    state.leases.pop(1)


def _lease_of_a_stranger(state):
    state.leases[99] = state.instances["a"]


def _ignored_waiter(state):
    waiter = state.waiters[2]
    state.queue["a"] = {waiter.request_id: waiter}


def _early_lease(state):
    state.instances["a"].phase = Phase.STARTING


def _forgotten_doom(state):
    state.instances["b"].doom = "unload requested"


def _outdated(state):
    state.instances["a"].spec = state.instances["b"].spec


@pytest.mark.parametrize(
    "damage",
    [_second_life, _lost_lease, _lease_of_a_stranger, _ignored_waiter, _early_lease, _forgotten_doom, _outdated],
)
def test_damage_is_noticed(play, damage):
    """Each of them breaks a promise that the rest of the code relies on."""
    p = play("abc", [GroupSpec("g", ("a", "b"), swap=False)]).loaded("a").loaded("b")
    p.arrives(1, "a").expect("grant 1").arrives(2, "c")
    state = p.scheduler._state.copy()
    check_invariants(state)
    damage(state)
    with pytest.raises(AssertionError):
        check_invariants(state)
