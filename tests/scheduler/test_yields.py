"""The devices belong to the person at the desk: models leave, requests are refused or wait, everything comes back."""

import pytest

from llama_swap.scheduler import Phase, Standing
from llama_swap.scheduler.commands import StopCause
from llama_swap.scheduler.spec import WhileYielded

WAIT = {"requests": WhileYielded.WAIT}


def test_idle_models_go_at_once(play_fit):
    """Newcomers are refused with the reason and when to come back."""
    p = play_fit({"a": 10}).runs("a").yields(seconds=600, because="a game").expect("stop a")
    assert p.commands[0].cause is StopCause.YIELDED
    p.exits("a").at(100).arrives(1, "a").expect("reject 1 yielded").message("a game")
    assert p.commands[0].retry_after_seconds == 500
    p.at(600).ticks().arrives(2, "a").expect("start a")


def test_busy_models_drain_and_are_stopped_after_a_bound(play_fit):
    """Who is served may finish for so long; newcomers do not get in."""
    p = play_fit({"a": 10}, yielding={"drain_seconds": 30}).runs("a").arrives(1, "a").expect("grant 1").yields()
    assert p.phase("a") == Standing.DRAINING
    p.arrives(2, "a").expect("reject 2 yielded").at(29).ticks().at(30).ticks().expect("stop a").because("a game")


def test_a_drained_model_leaves_when_its_last_request_ends(play_fit):
    """Before the bound."""
    play_fit({"a": 10}).runs("a").arrives(1, "a").expect("grant 1").yields().goes(1).expect("stop a")


def test_without_a_bound_requests_finish(play_fit):
    """0 is without bound."""
    p = play_fit({"a": 10}, yielding={"drain_seconds": 0}).runs("a").arrives(1, "a").expect("grant 1").yields()
    p.at(9999).ticks().goes(1).expect("stop a")


def test_requests_may_wait_instead(play_fit):
    """They are served when the yield ends."""
    p = play_fit({"a": 10}, yielding=WAIT).runs("a").yields().expect("stop a").exits("a").arrives(1, "a")
    assert "a game" in p.snapshot().queue[0].blocked_by
    p.at(50).yield_ends().expect("start a")


def test_a_yield_taken_back_spares_who_still_drains(play_fit):
    """It was of use all the time."""
    p = play_fit({"a": 10}, yielding=WAIT).runs("a").arrives(1, "a").expect("grant 1").yields().arrives(2, "a")
    p.yield_ends("me").expect("grant 2")


def test_models_elsewhere_go_on(play_fit):
    """Only the device that was asked for."""
    models = {"a": {"devices": ("0",)}, "b": {"devices": ("1",)}, "c": {"devices": ()}}
    p = play_fit({"a": 10, "b": 10, "c": 0}, gpus=[24, 24], models=models).runs("a", "b", "c").yields("0")
    p.expect("stop a").exits("a").arrives(1, "b").expect("grant 1").arrives(2, "c").expect("grant 2")
    p.arrives(3, "a").expect("reject 3 yielded")


def test_a_model_that_can_run_on_the_other_device_does(play_fit):
    """It is not refused for a device that it does not need."""
    p = play_fit({"a": 10, "b": 20}, gpus=[24, 12]).runs("b").yields("GPU-0").expect("stop b").exits("b")
    p.arrives(1, "a").expect("start a")
    assert p.commands[0].devices == ("GPU-1",)
    p.arrives(2, "b").expect("reject 2 yielded")


def test_a_loading_model_stops_for_a_yield(play_fit):
    """The memory is wanted now."""
    play_fit({"a": 10}).arrives(1, "a").expect("start a").yields().expect("stop a", "reject 1 yielded")


def test_pinned_models_come_back_by_themselves(play_fit):
    """Others come with the next request."""
    p = play_fit({"a": 10, "b": 8}, models={"a": {"pin": True}}).runs("a", "b").yields().expect("stop a", "stop b")
    p.exits("a").exits("b").at(60).yield_ends().expect("start a").because("pinned").ready("a")


def test_a_pinned_model_waits_until_the_game_has_left_its_memory(play_fit):
    """The end of a yield is told before the program is quite gone."""
    p = play_fit({"a": 20}, models={"a": {"pin": True}}).runs("a").yields().expect("stop a").exits("a")
    p.machine.foreign[0] = 10
    p.at(60).yield_ends().at(62).ticks()
    p.machine.foreign[0] = 0
    p.wakes(64).expect("start a")


def test_a_pinned_model_that_was_unloaded_stays_away(play_fit):
    """Somebody said so meanwhile."""
    p = play_fit({"a": 10}, models={"a": {"pin": True}}).runs("a").yields().expect("stop a").exits("a").unloads("a")
    p.yield_ends()


def test_without_a_driver_every_model_may_be_meant(play):
    """Nobody knows what is where, except that a model without devices is nowhere."""
    models = {"a": {}, "b": {"devices": ()}}
    p = play(models, [play.group("ab")]).loaded("a").loaded("b", 2).yields().expect("stop a").exits("a")
    p.arrives(1, "a").expect("reject 1 yielded").arrives(3, "b").expect("grant 3").yield_ends()
    p.arrives(4, "a").expect("start a")


def test_a_second_request_of_the_same_holder_replaces_the_first(play_fit):
    """The one who asked changes his mind."""
    play_fit({"a": 10}).yields(seconds=60).yields(seconds=10).at(10).ticks().arrives(1, "a").expect("start a")


def test_all_holders_have_to_give_back(play_fit):
    """One is enough to keep models away."""
    p = play_fit({"a": 10}).yields(holder="x").yields(holder="y").yield_ends("x").arrives(1, "a")
    p.expect("reject 1 yielded").yield_ends("y").arrives(2, "a").expect("start a")


AUTO = {"free_below_bytes": 4 << 30, "return_after_seconds": 30}


def test_a_game_that_starts_gets_the_card(play_fit):
    """Others grew, too little is free; it ends when enough has been free for a while."""
    p = play_fit({"a": 10}, yielding=AUTO).runs("a")
    p.machine.foreign[0] = 13
    p.wakes(2).expect("stop a").because("other programs use 13.0 GiB of GPU 0").exits("a")
    p.machine.foreign[0] = 22
    assert [y.holder for y in p.snapshot().yields] == ["auto:GPU-0"]
    p.wakes(4).arrives(1, "a").expect("reject 1 yielded").wakes(6)
    p.machine.foreign[0] = 0
    p.wakes(8).at(37).ticks().arrives(2, "a").expect("reject 2 yielded").at(38).ticks()
    p.arrives(3, "a").expect("start a")


def test_a_game_that_goes_on_keeps_the_card(play_fit):
    """However short the time to return is, a reading has to say that the pressure is over."""
    yielding = AUTO | {"return_after_seconds": 1}
    p = play_fit({"a": 10}, yielding=yielding, models={"a": {"pin": True}}).runs("a")
    p.machine.foreign[0] = 22
    p.wakes(2).expect("stop a").exits("a").wakes(4).wakes(6).wakes(8)
    p.machine.foreign[0] = 0
    p.wakes(10).wakes(11).expect("start a")


def test_our_own_models_are_no_pressure(play_fit):
    """A card that we fill ourselves is not yielded, nor one whose memory is only on its way back."""
    p = play_fit({"a": 19, "b": 12}, yielding=AUTO).runs("a")
    p.machine.takes_now("a", 21)
    p.wakes(2)
    p.machine.slow = {"a"}
    p.unloads("a").expect("stop a").exits("a")
    assert p.snapshot().instances[0].phase is Phase.RELEASING
    p.at(3).ticks()
    p.machine.lingering.clear()
    p.at(4).ticks()
    assert not p.snapshot().yields


def test_what_ours_take_beyond_their_promise_is_no_pressure(play_fit):
    """A window that opens beside a model that left less than shall be free itself is not a game."""
    p = play_fit({"a": 18}, yielding=AUTO)
    p.machine.takes["a"] = 21
    p.runs("a")
    p.machine.foreign[0] = 0.5
    p.wakes(2)
    p.machine.foreign[0] = 2.5
    p.wakes(4)
    assert not p.snapshot().yields


def test_who_takes_the_last_of_a_device_wants_it(play_fit):
    """Also where models took too much themselves: others could not grow on."""
    p = play_fit({"a": 18}, yielding=AUTO)
    p.machine.takes["a"] = 21
    p.runs("a")
    p.machine.foreign[0] = 2.9
    p.wakes(2).expect("stop a").because("other programs use 2.9 GiB")


@pytest.mark.parametrize(("gib", "expected"), [(0.4, []), (0.6, ["stop a"])])
def test_small_growth_is_no_game(play_fit, gib, expected):
    """A model may take all that need not be free, so a window leaves less than that at once; an eighth of it counts."""
    p = play_fit({"a": 20}, yielding=AUTO).runs("a")
    p.machine.foreign[0] = gib
    p.wakes(2).expect(*expected)


def test_a_hidden_model_that_takes_more_than_promised_is_no_pressure(play_fit):
    """Where the driver does not say who has what that looks like others' use; what these take later is seen."""
    p = play_fit({"a": 18}, yielding=AUTO)
    p.machine.tells_who, p.machine.takes["a"] = False, 21
    p.at(10).arrives(1, "a").expect("start a").wakes(10.5).at(11).ready("a").expect("grant 1").goes(1)
    p.machine.foreign[0] = 0.5
    p.wakes(13)
    p.machine.foreign[0] = 2.9
    p.wakes(15).expect("stop a")


def test_what_is_to_stay_free_is_headroom(play_fit):
    """Our own models never take it."""
    play_fit({"a": 21}, yielding=AUTO).arrives(1, "a").expect("reject 1 does_not_fit").message("4.0 GiB kept free")


@pytest.mark.parametrize("requests", list(WhileYielded))
def test_memory_that_only_others_use_counts_as_yielded(play_fit, requests):
    """With freeBelow set: a game that runs on a card which models would not leave anyway."""
    p = play_fit({"a": 18}, yielding=AUTO | {"requests": requests})
    p.machine.foreign[0] = 8
    p.at(10).arrives(1, "a")
    if requests is WhileYielded.REFUSE:
        p.expect("reject 1 yielded")
    else:
        p.machine.foreign[0] = 0
        p.at(14).ticks().expect("start a")


def test_a_yield_of_a_device_that_is_not_there_concerns_nobody(play_fit):
    """By groups, on a machine with one card."""
    play_fit({"a": 10}, decides=False).yields("GPU-7").arrives(1, "a").expect("start a")


PINNED = {"models": {"a": {"pin": True}}}


def test_a_pinned_model_that_returns_sends_idle_ones_away(play_fit):
    """Its place is its own; who came meanwhile has been left alone for the minimum residency."""
    p = play_fit({"a": 20, "b": 10}, fit={"min_residency_seconds": 5.0}, **PINNED).runs("a")
    p.yields().expect("stop a").exits("a")
    p.machine.foreign[0] = 10
    p.at(60).yield_ends().arrives(1, "b").expect("start b").ready("b").expect("grant 1").goes(1)
    p.machine.foreign[0] = 0
    p.wakes(62).wakes(64).wakes(65).expect("stop b").exits("b").expect("start a").ready("a")
    p.arrives(2, "b").expect("reject 2 does_not_fit").message("20.0 GiB pinned (a)")


def test_a_pinned_model_that_returns_drains_who_never_rests(play_fit):
    """After the maximum wait, like a request for it; and it starts when the last one has been served."""
    p = play_fit({"a": 20, "b": 10}, **PINNED).runs("a").yields().expect("stop a").exits("a")
    p.machine.foreign[0] = 10
    p.at(60).yield_ends().arrives(1, "b").expect("start b").ready("b").expect("grant 1")
    p.machine.foreign[0] = 0
    p.wakes(62).arrives(2, "b").expect("grant 2").goes(1).wakes(64).wakes(66).wakes(68).wakes(70)
    assert p.phase("b") == Standing.DRAINING
    p.arrives(3, "b").goes(2).expect("stop b").exits("b").expect("start a", "reject 3 does_not_fit")


def test_a_pinned_model_that_returns_comes_before_who_waits(play_fit):
    """Had it never left, they would be refused as well."""
    p = play_fit({"a": 16, "b": 12, "c": 4}, yielding=WAIT, **PINNED).runs("a").yields().expect("stop a").exits("a")
    p.arrives(1, "b").at(1).arrives(2, "c").at(50).yield_ends()
    p.expect("start a", "start c", "reject 1 does_not_fit")


def test_a_pinned_model_that_is_asked_for_keeps_its_turn(play_fit):
    """Also where the request for it came last, and by groups."""
    p = play_fit({"a": 16, "b": 12}, yielding=WAIT, **PINNED).runs("a").yields().expect("stop a").exits("a")
    p.arrives(1, "b").arrives(2, "a").at(50).yield_ends().expect("start a", "reject 1 does_not_fit")
    g = play_fit({"a": 16, "b": 12}, yielding=WAIT, decides=False, **PINNED).runs("a").yields().expect("stop a")
    g.exits("a").arrives(1, "b").at(50).yield_ends().expect("start a", "reject 1 pinned")


def test_a_return_that_fails_is_tried_again(play_fit):
    """Until it is ready, with pauses that grow; nobody has to ask for it."""
    p = play_fit({"a": 10}, **PINNED).runs("a").yields().expect("stop a").exits("a").yield_ends().expect("start a")
    p.exits("a").wakes(1).expect("start a").because("returns by itself").exits("a").wakes(3).expect("start a")
    p.exits("a").at(6.9).ticks().at(7).ticks().expect("start a").ready("a").at(8).exits("a").at(99).ticks()


def test_a_return_for_which_memory_runs_out_is_tried_again(play_fit):
    """A game took it while the model loaded; it starts when the game has left."""
    p = play_fit({"a": 16}, **PINNED).runs("a").yields().expect("stop a").exits("a").yield_ends().expect("start a")
    p.machine.foreign[0] = 15
    p.at(1).exits("a", out_of_memory=True).at(7).ticks().wakes(9)
    p.machine.foreign[0] = 0
    p.wakes(10).wakes(11).expect("start a").ready("a")


def test_a_return_that_keeps_failing_sends_nobody_away(play_fit):
    """Others would leave in vain; it starts where there is room."""
    p = play_fit({"a": 20, "b": 10}, **PINNED).runs("a").yields().expect("stop a").exits("a").yield_ends()
    p.expect("start a").exits("a").wakes(1).expect("start a").exits("a").wakes(3).expect("start a").exits("a")
    p.arrives(1, "b").expect("start b").ready("b").expect("grant 1").goes(1).at(99).ticks().unloads("b")
    p.expect("stop b").exits("b").expect("start a")


def test_a_pinned_model_that_can_not_return_yet_is_not_given_up(play_fit):
    """Something else that is pinned is in its place; then nothing is."""
    p = play_fit({"a": 20, "b": 10}, **PINNED).runs("a").yields().expect("stop a").exits("a")
    p.machine.foreign[0] = 10
    p.at(60).yield_ends().arrives(1, "b").expect("start b").ready("b").expect("grant 1").goes(1).pins("b")
    p.machine.foreign[0] = 0
    p.at(75).ticks().pins("b", pinned=False).expect("stop b").exits("b").expect("start a")


@pytest.mark.parametrize("said", ["unload", "unpin", "reload"])
def test_a_return_is_given_up_when_somebody_says_so(play_fit, said):
    """In a pause between two tries, too."""
    p = play_fit({"a": 10}, **PINNED).runs("a").yields().expect("stop a").exits("a").yield_ends().expect("start a")
    p.exits("a")
    if said == "unload":
        p.unloads("a")
    elif said == "unpin":
        p.pins("a", pinned=False)
    else:
        p.reloads(p.changed("a", pin=False))
    p.wakes(None)


def test_explain_says_for_whom_and_why(play_fit):
    """It would fit; and nothing of a device that is left to others can be had."""
    p = play_fit({"a": 10}).runs("a").yields(holder="me", because="a film").expect("stop a").exits("a")
    said = p.assessed("a", 10).measures().explain("a")
    assert "yielded to me: a film" in said.refusal.message
    assert said.memory.fits
    assert said.memory.lines[1].endswith("yielded to other programs, at most 0.0 GiB can be had")
