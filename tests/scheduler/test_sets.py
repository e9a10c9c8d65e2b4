"""Playbooks with a matrix: who runs with whom over time."""

import pytest

from llama_swap.scheduler import Departure, Scheduler
from llama_swap.scheduler.commands import StopCause, StopProcess
from llama_swap.scheduler.spec import MatrixSpec, SchedulerSpec


def test_alternatives_replace_each_other_beside_the_rest(play):
    """In `(a|b)&v` v stays while a and b take turns."""
    p = play("abv", matrix={"s": "(a|b)&v"}).loaded("a").loaded("v", 1001)
    p.arrives(1, "b").expect("stop a").because("b needs the place of a; a is idle")
    assert p.commands == [StopProcess(1, "a", p.commands[0].because, StopCause.EVICTED, "b")]
    p.exits("a").expect("start b").ready("b").expect("grant 1").arrives(2, "v").expect("grant 2")


def test_a_model_that_loads_counts_as_running(play):
    """Who waits for it is served first."""
    p = play("abv", matrix={"s": "(a|b)&v"}).arrives(1, "a").expect("start a").arrives(2, "b").expect()
    p.arrives(3, "v").expect("start v")
    p.ready("a").expect("grant 1").goes(1).expect("stop a").exits("a").expect("start b")


def test_the_costs_choose_who_leaves(play):
    """The set that keeps the dear one is taken, though defined later."""
    sets = {"first": "a&b", "second": "b&v", "start": "a&v"}
    p = play("abv", matrix={"sets": sets, "evict_costs": {"v": 50}}).loaded("a").loaded("v", 1001)
    p.arrives(1, "b").expect("stop a").exits("a").expect("start b")


@pytest.mark.parametrize(("tie_break", "stopped"), [("definition", "v"), ("lru", "a")])
def test_equal_costs(play, tie_break, stopped):
    """The set defined first, or the one with the model used last."""
    sets = {"first": "a&b", "second": "b&v", "start": "a&v"}
    p = play("abv", matrix={"sets": sets, "tie_break": tie_break}).loaded("a").loaded("v", 1001)
    p.at(1).arrives(1, "a").expect("grant 1").at(2).arrives(2, "v").expect("grant 2").goes(1).goes(2)
    p.at(3).arrives(3, "b").expect(f"stop {stopped}").exits(stopped).expect("start b")


def test_lru_counts_the_end_of_use(play):
    """A long answer that has just ended is more recent than a short one that began later."""
    matrix = {"sets": {"first": "a&b", "second": "b&v", "start": "a&v"}, "tie_break": "lru"}
    p = play("abv", matrix=matrix).loaded("a").loaded("v", 1001)
    p.at(1).arrives(1, "a").expect("grant 1").at(2).arrives(2, "v").expect("grant 2").goes(2).at(3).goes(1)
    p.at(4).arrives(3, "b").expect("stop v").exits("v").expect("start b")


def test_lru_does_not_send_away_what_serves_for_what_is_idle(play):
    """A model in use is the most recently used."""
    matrix = {"sets": {"first": "v&b", "second": "b&a", "start": "a&v"}, "tie_break": "lru"}
    p = play("abv", matrix=matrix).loaded("v").arrives(1, "a").expect("start a").ready("a").expect("grant 1")
    p.at(5).arrives(2, "v").expect("grant 2").at(6).goes(2).arrives(3, "b").expect("stop v")
    p.exits("v").expect("start b")


def test_lru_counts_a_load_that_somebody_waits_for_as_use(play):
    """However long ago it began."""
    matrix = {"sets": {"start": "a&v", "first": "v&b", "second": "b&a"}, "tie_break": "lru"}
    p = play("abv", matrix=matrix).arrives(1, "a").expect("start a").at(1).loaded("v")
    p.at(2).arrives(2, "b").expect("stop v").exits("v").expect("start b")


def test_a_model_in_no_set_runs_alone(play):
    """It sends everybody away, and everybody sends it away."""
    p = play("abx", matrix={"s": "a&b"}).loaded("a").loaded("b", 1001)
    p.arrives(1, "x").expect("stop a", "stop b").exits("a").expect().exits("b").expect("start x")
    p.ready("x").expect("grant 1").arrives(2, "b").expect().goes(1).expect("stop x").exits("x").expect("start b")


def test_a_busy_model_is_waited_for_then_drained(play):
    """The bound on waiting holds for sets too, and only who must leave is drained."""
    p = play("abv", matrix={"s": "(a|b)&v"}).loaded("v").arrives(1, "a").expect("start a").ready("a").expect("grant 1")
    p.arrives(2, "b").expect().at(5).arrives(3, "a").expect("grant 3").wakes(10).expect()
    assert p.phase("a") == "draining"
    p.arrives(4, "a").expect().arrives(5, "v").expect("grant 5")
    p.goes(1).expect().goes(3).expect("stop a").exits("a").expect("start b")


def test_a_newcomer_may_not_change_whom_a_claimant_needs_gone(play):
    """Z could run beside a or b, but b has been waiting for a to go, and with z in the house another would have to."""
    sets = {"now": "a&c&z", "first": "b&c", "second": "b&a&z"}
    p = play("abcz", matrix=sets).loaded("c").arrives(1, "a").expect("start a").ready("a").expect("grant 1")
    p.arrives(2, "b").expect().wakes(10).expect()
    assert p.phase("a") == "draining"
    p.arrives(3, "z").expect()
    assert [(w.model, w.blocked_by) for w in p.snapshot().queue] == [
        ("b", "a serves 1 request"),
        ("z", "b comes first"),
    ]
    p.goes(1).expect("stop a").exits("a").expect("start b").ready("b").expect("grant 2")
    p.goes(2).expect("stop b").exits("b").expect("start z")


def test_what_drains_under_lru_is_not_taken_back(play):
    """Its last lease makes it recent, and would go on to with each one that it got after."""
    matrix = {"sets": {"now": "a&v", "first": "a&b", "second": "b&v"}, "tie_break": "lru"}
    p = play("abv", matrix=matrix).loaded("a").loaded("v", 1001)
    p.at(1).arrives(1, "a").expect("grant 1").at(2).arrives(2, "v").expect("grant 2").arrives(3, "b").expect()
    p.wakes(12).expect()
    assert {m: p.phase(m) for m in "av"} == {"a": "draining", "v": "ready"}
    p.at(13).goes(2).expect().at(14).goes(1).expect("stop a").exits("a").expect("start b")


def test_a_reload_from_groups_to_a_matrix(play):
    """Nobody is stopped for it; what starts next obeys the new rules."""
    p = play("abc").loaded("a")
    spec = p.spec
    p.reloads(play.spec("abc", matrix={"s": "a&b"})).expect().arrives(1, "b").expect("start b")
    p.ready("b").expect("grant 1").goes(1).reloads(spec).expect()
    p.arrives(2, "c").expect("stop a", "stop b").exits("a").expect().exits("b").expect("start c")


def test_a_matrix_with_mistakes_never_gets_this_far():
    """The configuration was to be checked."""
    with pytest.raises(ValueError, match="unknown var or model"):
        Scheduler(SchedulerSpec(matrix=MatrixSpec({"s": "a"})))


def test_a_claim_holds_back_only_whom_it_concerns(play):
    """T drains a; z may have the place of c meanwhile, whether c is idle or leaving."""
    p = play("actz", matrix={"s": "(a|t)&(c|z)"}).loaded("c")
    p.arrives(1, "a").expect("start a").ready("a").expect("grant 1").arrives(2, "t").expect().wakes(10).expect()
    assert p.explain("z").would_stop == (Departure("c", "z needs the place of c; c is idle"),)
    p.unloads("c").expect("stop c")
    assert p.explain("z").waits_for == "c is stopping"
    p.arrives(3, "z").expect().exits("c").expect("start z")
    assert p.phase("a") == "draining"


def test_a_model_that_waits_for_its_own_last_run_holds_nobody_back(play):
    """Others that may run beside it start meanwhile."""
    p = play("ab", matrix={"s": "a&b"}).loaded("b").unloads("b").expect("stop b").arrives(1, "b").expect()
    p.arrives(2, "a").expect("start a").exits("b").expect("start b")
