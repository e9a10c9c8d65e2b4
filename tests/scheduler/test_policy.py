"""The pure rules: groups, the order of the queue, and who may have whose place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.scheduler.policy.group import GroupPolicy
from llama_swap.scheduler.policy.queue import rank
from llama_swap.scheduler.policy.ruling import Neighbours
from llama_swap.scheduler.policy.seating import Candidate, Occupant, Step, Use, place
from llama_swap.scheduler.spec import GroupSpec
from llama_swap.scheduler.state import Waiter

APART = GroupPolicy.of([GroupSpec(name, (name,), exclusive=False) for name in "vwxyz"])


def group(name="g", members="ab", *, swap=True, exclusive=True, persistent=False):
    """A group; a letter a member."""
    return GroupSpec(name, tuple(members), swap, exclusive, persistent)


@pytest.mark.parametrize(
    ("groups", "target", "victims"),
    [
        ([], "a", "bc"),
        ([group(swap=False)], "a", "c"),
        ([group(exclusive=False)], "a", "b"),
        ([group(swap=False, exclusive=False)], "a", ""),
        ([group(members="bc", persistent=True)], "a", ""),
        ([group(members="b", exclusive=False)], "a", "bc"),
        ([group(members="ab", persistent=True)], "a", "bc"),
        ([group(name="(default)", members="b", swap=False)], "a", "bc"),
    ],
)
def test_victims(groups, target, victims):
    """llama-swap's table, with a and c running and b stopping; a name like that of the implicit group means nothing."""
    assert "".join(sorted(GroupPolicy.of(groups).victims(target, Neighbours(tuple("ac"), ("b",))))) == victims


def test_nobody_is_a_victim_of_itself():
    """A running target has nothing to evict where its own name is concerned."""
    assert GroupPolicy.of([]).victims("a", Neighbours(("a",))) == ()


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(-3, 3)), min_size=2), st.sampled_from([0.0, 10.0]))
def test_equal_priorities_go_by_arrival(arrivals, max_wait):
    """Whatever the maximum wait is."""
    waiters = [(Waiter(n, "a", at), priority) for n, (at, priority) in enumerate(arrivals)]
    ordered = sorted(waiters, key=lambda pair: rank(pair[0], pair[1], max_wait))
    for level in {priority for _, priority in waiters}:
        times = [waiter.arrived_at for waiter, priority in ordered if priority == level]
        assert times == sorted(times)


def test_a_point_of_priority_is_worth_the_maximum_wait():
    """Just under and just over."""
    early, late = Waiter(1, "a", 0.0), Waiter(2, "b", 9.0)
    assert rank(late, 1, 10.0) < rank(early, 0, 10.0)
    assert rank(early, 0, 10.0) < rank(Waiter(2, "b", 11.0), 1, 10.0)
    assert rank(Waiter(2, "b", 11.0), 1, 0.0) < rank(early, 0, 0.0)


def seat(waiting, running, *, overdue="", policy=None):
    """The step of each waiting model; ``running`` maps models to what they do."""
    candidates = [Candidate(model, (0.0, n, n), model in overdue) for n, model in enumerate(waiting)]
    occupants = {model: Occupant(model, use) for model, use in running.items()}
    return {p.model: p.step for p in place(candidates, occupants, policy or GroupPolicy.of([]))}


@pytest.mark.parametrize(
    ("use", "step"),
    [(Use.IDLE, Step.EVICT), (Use.LEAVING, Step.EVICT), (Use.SERVING, Step.WAIT), (Use.LOADING, Step.WAIT)],
)
def test_what_the_victim_does_decides(use, step):
    """Only the idle give way at once."""
    assert seat("b", {"a": use}) == {"b": step}


@pytest.mark.parametrize("use", [Use.SERVING, Use.LOADING])
def test_the_overdue_drain(use):
    """Who has waited long enough gets a claim on what is in its way."""
    assert seat("b", {"a": use}, overdue="b") == {"b": Step.DRAIN}


def test_only_one_of_two_that_exclude_each_other_starts():
    """The first one's start is in the way of the second."""
    assert seat("ab", {}) == {"a": Step.START, "b": Step.WAIT}


def test_strangers_start_together():
    """No rule connects them."""
    assert seat("xy", {}, policy=APART) == {"x": Step.START, "y": Step.START}


def test_a_claim_holds_back_those_it_would_evict_again():
    """The later one is free to start but would have to leave for the first."""
    policy = GroupPolicy.of(
        [group("small", "s", exclusive=False), group("kept", "k", exclusive=False, persistent=True)]
    )
    assert seat("bs", {"a": Use.SERVING}, policy=policy) == {"b": Step.WAIT, "s": Step.START}
    assert seat("bsk", {"a": Use.SERVING}, policy=policy, overdue="b") == {
        "b": Step.DRAIN,
        "s": Step.WAIT,
        "k": Step.START,
    }


def test_an_idle_victim_with_its_own_waiters_in_front_is_not_evicted():
    """They come first; those who come later do not protect it."""
    ahead, behind = Occupant("a", Use.IDLE, (0.0, 0.0, 0)), Occupant("a", Use.IDLE, (0.0, 9.0, 9))
    candidate = Candidate("b", (0.0, 5.0, 5), is_overdue=False)
    assert place([candidate], {"a": ahead}, GroupPolicy.of([]))[0].step is Step.WAIT
    assert place([candidate], {"a": behind}, GroupPolicy.of([]))[0].step is Step.EVICT


@given(
    st.permutations("abcde"),
    st.dictionaries(st.sampled_from("fgh"), st.sampled_from(list(Use))),
    st.sets(st.sampled_from("abcde")),
    st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_claims_never_overlap(waiting, running, overdue, flags):
    """No two swaps in progress count on the same place, and nobody starts beside what excludes it."""
    policy = GroupPolicy.of(
        [
            group("g", "abf", swap=flags[0], exclusive=flags[1], persistent=flags[2]),
            group("h", "cdg", swap=flags[3], exclusive=flags[4], persistent=flags[5]),
        ]
    )
    candidates = [Candidate(model, (0.0, n, n), model in overdue) for n, model in enumerate(waiting)]
    placements = place(candidates, {m: Occupant(m, use) for m, use in running.items()}, policy)
    claimed = [model for p in placements if p.step in (Step.EVICT, Step.DRAIN) for model in p.in_the_way]
    assert len(claimed) == len(set(claimed))
    started = [p.model for p in placements if p.step is Step.START]
    for number, model in enumerate(started):
        assert not policy.victims(model, Neighbours((*running, *started[:number])))
    assert [p.model for p in placements] == list(waiting)
