"""How long a model stays: pins, keep-alive, minimum residency."""

import math

import pytest

from llama_swap.scheduler import Standing


def test_a_pinned_model_is_not_unloaded_for_being_idle(play):
    """From the configuration or said at run time."""
    p = play({"a": {"pin": True}}, ttl_seconds=5).loaded("a").wakes(None)
    p.pins("a", pinned=False).wakes(5).expect("stop a")


def test_a_model_pinned_at_run_time_stays(play):
    """Until it is unpinned; then its ttl counts from its last use."""
    play("a", ttl_seconds=5).loaded("a").pins("a").wakes(None).at(20).pins("a", pinned=False).expect("stop a")


def test_a_pin_outlives_the_instance(play):
    """It is about the model."""
    p = play("a", ttl_seconds=5).pins("a").loaded("a").wakes(None).unloads("a").expect("stop a").exits("a")
    p.loaded("a").wakes(None)
    assert p.snapshot().instances[0].pinned


def test_unload_on_request_does_not_ask_about_pins(play):
    """Who says so means it."""
    play("a").pins("a").loaded("a").unloads("a").expect("stop a")


def test_groups_do_not_evict_a_pinned_model(play):
    """The request is refused: it could never be served."""
    p = play("ab").pins("a").loaded("a").arrives(1, "b").expect("reject 1 pinned").message("a, which is pinned")
    p.arrives(2, "a").expect("grant 2")


def test_a_changed_configuration_restarts_a_pinned_model(play):
    """A pin is about eviction and idleness."""
    play({"a": {"pin": True}}).loaded("a").reloads(p_changed(play)).expect("stop a")


def p_changed(play):
    """The same model with another command."""
    return play.spec({"a": {"pin": True}}, fingerprint="v2")


def test_keep_alive_of_a_request_takes_the_place_of_the_ttl(play):
    """The latest that names one wins."""
    p = play("a", ttl_seconds=5).arrives(1, "a", keep_alive_seconds=60.0).expect("start a").ready("a").expect("grant 1")
    p.goes(1).at(10).arrives(2, "a").expect("grant 2").goes(2).wakes(60).wakes(70).expect("stop a")


def test_keep_alive_zero_unloads_after_the_request(play):
    """At once when nobody uses it any more."""
    p = play("a").arrives(1, "a", keep_alive_seconds=0.0).expect("start a").arrives(2, "a").ready("a")
    p.expect("grant 1", "grant 2").goes(1).goes(2).expect("stop a").because("keep_alive")


def test_keep_alive_for_ever(play):
    """Infinity: not by idleness; eviction still may."""
    p = play("ab", ttl_seconds=5).arrives(1, "a", keep_alive_seconds=math.inf).expect("start a").ready("a")
    p.expect("grant 1").goes(1).wakes(None).at(99).arrives(2, "b").expect("stop a")


def test_keep_alive_dies_with_the_instance(play):
    """The next run has the ttl again."""
    p = play("a", ttl_seconds=5).arrives(1, "a", keep_alive_seconds=math.inf).expect("start a").ready("a")
    p.expect("grant 1").goes(1).unloads("a").expect("stop a").exits("a").loaded("a").wakes(5).expect("stop a")


def test_a_keep_alive_that_shortens_the_time_is_seen_at_once(play):
    """Although nobody waits and nothing else happens."""
    p = play("a", ttl_seconds=500).loaded("a").arrives(1, "a", keep_alive_seconds=1.0).expect("grant 1").goes(1)
    p.wakes(1).expect("stop a")


def test_a_model_that_just_became_ready_is_left_alone(play_fit):
    """For the minimum residency, so that two do not chase each other."""
    p = play_fit({"a": 16, "b": 12}, fit={"min_residency_seconds": 5.0}).runs("a").at(1).arrives(1, "b")
    assert p.snapshot().queue[0].blocked_by == "a is left alone for 5 s after it became ready, a is idle"
    p.wakes(5).expect("stop a")


def test_who_is_overdue_does_not_wait_for_the_residency(play_fit):
    """The maximum wait is a bound."""
    p = play_fit({"a": 16, "b": 12}, fit={"min_residency_seconds": 60.0}).runs("a").at(1).arrives(1, "b")
    p.at(11).ticks().expect("stop a")


def test_a_load_that_was_postponed_is_made_when_there_is_room(play_fit):
    """Nobody leaves for it unless it is pinned, and all who wait come first."""
    p = play_fit({"a": 20, "b": 10, "c": 10}).runs("b").at(1).postpones("a").wakes(2).arrives(1, "c").expect("start c")
    p.ready("c").expect("grant 1").goes(1).at(20).ticks().unloads("b").expect("stop b").exits("b")
    p.unloads("c").expect("stop c").exits("c").expect("start a").because("starts by itself").exits("a")
    p.wakes(21).expect("start a").ready("a").at(22).exits("a").at(60).ticks()


def test_a_pinned_load_that_was_postponed_has_its_place(play_fit):
    """Like one that a yield took away."""
    p = play_fit({"a": 20, "b": 10}, models={"a": {"pin": True}}).runs("b").at(1).postpones("a")
    p.wakes(2).expect("stop b").exits("b").expect("start a").ready("a").postpones("a").at(50).ticks()


@pytest.mark.parametrize("said", ["", "unload", "unpin", "reload", "shutdown", "unknown"])
def test_a_load_that_was_postponed_is_given_up_when_somebody_says_so(play_fit, said):
    """But not because another model is pinned, or something else changes."""
    p = play_fit({"a": 20, "b": 10}).runs("b").at(1)
    if said == "unknown":
        p.reloads(p.without("a")).postpones("a")
    else:
        p.postpones("a").pins("b").reloads(p.changed("b", ttl_seconds=99.0))
    if said == "unload":
        p.unloads("a")
    elif said == "unpin":
        p.pins("a", pinned=False)
    elif said == "reload":
        p.reloads(p.without("a"))
    p.at(5).ticks()
    if said == "shutdown":
        p.shuts_down().expect("stop b").exits("b")
    else:
        p.unloads("b").expect("stop b").exits("b")
    p.expect(*(["start a"] if not said else [])).at(60).ticks()


@pytest.mark.parametrize(("first", "second"), [("heavy", "light"), ("light", "heavy")])
def test_shares_between_callers(play, first, second):
    """Who had most of the service lately waits behind those who had little, within a bound."""
    p = play("xyz", limits={"fair_share_seconds": 30.0, "max_wait_seconds": 100.0})
    p.arrives(1, "x", caller="heavy").expect("start x").ready("x").expect("grant 1").at(100).goes(1)
    p.arrives(2, "x", caller="light").expect("grant 2").at(110).goes(2).arrives(3, "x").expect("grant 3")
    p.arrives(4, "y", caller=first).at(111).arrives(5, "z", caller=second)
    by_caller = {first: 4, second: 5}
    assert [w.request_id for w in p.snapshot().queue] == [by_caller["light"], by_caller["heavy"]]
    assert p.phase("x") == Standing.READY


def test_without_fair_shares_all_are_alike(play):
    """0 turns it off."""
    p = play("xyz", limits={"fair_share_seconds": 0.0, "max_wait_seconds": 100.0})
    p.arrives(1, "x", caller="heavy").expect("start x").ready("x").expect("grant 1").at(100).goes(1)
    p.arrives(2, "x", caller="light").expect("grant 2").at(110).goes(2).arrives(3, "x").expect("grant 3")
    p.arrives(4, "y", caller="heavy").at(111).arrives(5, "z", caller="light")
    assert [w.request_id for w in p.snapshot().queue] == [4, 5]


def test_priority_of_a_caller(play):
    """It is added to the model's; the first in line of a model is its most urgent waiter."""
    p = play("abc").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b").at(1).arrives(3, "c").at(2)
    p.arrives(4, "c", priority=1)
    assert [w.model for w in p.snapshot().queue] == ["c", "c", "b"]
    p.goes(4)
    assert [w.model for w in p.snapshot().queue] == ["b", "c"]


def test_a_pinned_model_that_starts_past_a_waiter_ends_its_wait(play):
    """It would wait for ever."""
    sets = {"together": "a & e & c"}
    p = play({"a": {}, "c": {"pin": True}, "d": {}, "e": {}}, matrix=sets).arrives(1, "a").expect("start a")
    p.arrives(2, "d").arrives(3, "c").expect("start c", "reject 2 pinned")


def test_a_drain_that_is_undone_does_not_keep_who_was_idle_for_long_enough(play_fit):
    """It waited for a reading only, and nobody wants its place any more: it goes at once, not with the next look."""
    p = play_fit({"a": 20, "b": 20}, limits={"max_wait_seconds": 4}).runs("a")
    p.arrives(1, "a", keep_alive_seconds=0).expect("grant 1").arrives(2, "b").at(5).ticks()
    p.answers = False
    p.at(20).goes(1).expect("measure").goes(2).expect("stop a")
