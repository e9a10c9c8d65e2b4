"""What was thought about memory is unknown, wrong or old."""

from dataclasses import replace

import pytest
from cards import GIB

from llama_swap.scheduler import Phase, RuleKind, Standing
from llama_swap.scheduler.events import MemoryMeasured
from llama_swap.scheduler.memory import HOST, Need, NeedSource, PoolReading
from llama_swap.scheduler.spec import FitSpec

NO_DEVICES = MemoryMeasured(0.0, (PoolReading(HOST, "host memory", None, 64 * GIB, 60 * GIB),))


def test_an_unknown_need_runs_alone(play_fit):
    """Everybody leaves that may, and nobody starts beside it until it is measured."""
    p = play_fit({"a": 6, "b": 4, "x": None, "c": 2})
    p.machine.takes["x"] = 8
    p.runs("a", "b").arrives(1, "x").expect("stop a", "stop b").exits("a").exits("b").expect("start x")
    p.at(1).arrives(2, "c").ready("x").expect("grant 1", "start c")


def test_an_unknown_need_does_not_start_beside_who_starts_in_the_same_step(play_fit):
    """The one that came first goes first."""
    p = play_fit({"a": 10, "u": None})
    p.answers = False
    p.at(9).arrives(1, "a").expect("assess a").arrives(2, "u").expect("assess u").assessed("a", 10).expect("measure")
    p.assessed("u", None).measures().expect("start a")


def test_an_unknown_need_does_not_start_beside_who_is_claimed_by_another(play_fit):
    """Nor takes what that claim counts on."""
    p = play_fit({"a": 10, "b": 20, "u": None}, limits={"max_wait_seconds": 10.0}).runs("a")
    p.arrives(1, "a").expect("grant 1").arrives(2, "b").at(10).ticks().at(11).arrives(3, "u")
    assert p.snapshot().queue[1].blocked_by.startswith("b comes first")
    p.goes(1).expect("stop a").exits("a").expect("start b")


def test_what_becomes_free_beside_an_unknown_need_is_its_own(play_fit):
    """Until it was measured."""
    p = play_fit({"u": None, "p": 10, "b": 8}, models={"p": {"pin": True}}).runs("p")
    p.machine.takes["u"] = 6
    p.arrives(1, "u").expect("start u").unloads("p").expect("stop p").exits("p").arrives(2, "b")
    assert p.snapshot().queue[1].blocked_by == "u is loading"
    p.ready("u").expect("grant 1", "start b")


def test_what_has_just_become_ready_is_looked_at_before_the_next_start(play_fit):
    """A command that counts devices in an order of its own is elsewhere than was thought: the next reading shows it."""
    p = play_fit({"a": 10, "b": 20}, gpus=[24, 12], models={"a": {"devices": ("1",)}})
    p.arrives(1, "a").expect("start a")
    p.machine.held[p.machine.latest["a"]] = {"GPU-0": 10 * GIB}
    p.answers = False
    p.ready("a").expect("grant 1", "measure").goes(1).arrives(2, "b").expect("assess b").assessed("b", 20)
    p.measures().expect("stop a").exits("a").expect("measure").measures().expect("start b")


def test_an_unknown_need_waits_for_those_in_use(play_fit):
    """It is nobody's reason to be cut."""
    p = play_fit({"a": 6, "x": None}).runs("a").arrives(1, "a").expect("grant 1").arrives(2, "x")
    p.goes(1).expect("stop a").exits("a").expect("start x")


def test_an_unknown_need_runs_beside_pinned_models(play_fit):
    """They never leave."""
    p = play_fit({"a": 6, "x": None}, models={"a": {"pin": True}}).runs("a").arrives(1, "x").expect("start x")
    assert p.claims("x") == {"GPU-0": 18}


def test_an_unknown_need_takes_the_devices_that_are_not_yielded(play_fit):
    """And sees no others."""
    p = play_fit({"x": None}, gpus=[24, 12]).yields("0").arrives(1, "x").expect("start x")
    assert p.commands[-1].devices == ("GPU-1",)


def test_an_unknown_need_of_the_cpu_beside_devices_disturbs_nobody(play_fit):
    """What it takes of the host is seen when it runs."""
    play_fit({"a": 20, "x": None}, models={"x": {"devices": ()}}).runs("a").arrives(1, "x").expect("start x")


def test_out_of_memory_at_load_is_tried_once_more_alone(play_fit):
    """With more, after the others left; those who wait stay."""
    p = play_fit({"a": 6, "b": 14}).runs("a").arrives(1, "b").expect("start b")
    p.exits("b", "CUDA error: out of memory", out_of_memory=True).expect("stop a").exits("a").expect("start b")
    assert p.claims("b") == {"GPU-0": 24}
    p.ready("b").expect("grant 1")
    assert p.snapshot().models[1].failures == 0


def test_out_of_memory_twice_is_refused_with_the_sums(play_fit):
    """It counts as a failed start; the next request finds out anew what it needs."""
    p = play_fit({"a": 6, "b": 14}).runs("a").arrives(1, "b").expect("start b").exits("b", out_of_memory=True)
    p.expect("stop a").exits("a").expect("start b").exits("b", "exit code 1", ("no memory",), out_of_memory=True)
    p.expect("reject 1 out_of_memory").message("no memory", "needs 16.8 GiB", "GPU 0: 24.0 GiB")
    assert p.phase("b") == Standing.FAILED
    p.answers = False
    p.at(2).arrives(2, "b").expect("assess b")


def test_the_raised_need_is_no_reason_to_refuse(play_fit):
    """More than there is cannot be had, but all there is may be enough."""
    p = play_fit({"a": 2, "b": 22}).runs("a").arrives(1, "b").expect("start b").exits("b", out_of_memory=True)
    p.expect("stop a").exits("a").expect("start b")
    assert p.claims("b") == {"GPU-0": 24}


def test_a_need_that_ran_out_of_memory_once_is_no_reason_to_refuse(play_fit):
    """What that added may have had another cause; it counts where there is so much."""
    learned = Need(NeedSource.LEARNED, device_bytes=30 * GIB, added_bytes=10 * GIB)
    p = play_fit({"a": 2, "b": learned}).runs("a").arrives(1, "b").expect("stop a").exits("a").expect("start b")
    assert p.claims("b") == {"GPU-0": 24}


def test_an_unknown_need_may_have_a_known_part(play_fit):
    """What it takes of the host is checked; of the devices it gets all."""
    part = Need(NeedSource.UNKNOWN, host_bytes=40 * GIB)
    p = play_fit({"x": part}, host=64).arrives(1, "x").expect("start x")
    assert p.claims("x") == {"GPU-0": 24, HOST: 40}
    play_fit({"x": part}, host=32).arrives(1, "x").expect("reject 1 does_not_fit")


def test_a_second_try_after_the_rules_have_changed(play_fit):
    """The figure of an earlier run is raised, and not asked for again and again."""
    p = play_fit({"b": 5, "g": 10}).runs("b").unloads("b").expect("stop b").exits("b")
    fit = p.spec
    p.reloads(replace(fit, fit=None)).arrives(1, "b").expect("start b").reloads(fit)
    p.exits("b", out_of_memory=True).expect("start b")


def test_out_of_memory_alone_is_not_tried_again(play_fit):
    """There is nobody who could leave."""
    p = play_fit({"x": None}).arrives(1, "x").expect("start x").exits("x", out_of_memory=True)
    p.expect("reject 1 out_of_memory")


def test_out_of_memory_by_the_rules_of_groups(play):
    """Nothing is known there that would help, but the reason is said."""
    p = play("a").arrives(1, "a").expect("start a").exits("a", "exit code 1", out_of_memory=True)
    p.expect("reject 1 out_of_memory")


def test_a_second_try_that_nobody_waits_for_is_not_made(play_fit):
    """The client left."""
    p = play_fit({"a": 6, "b": 14}).runs("a").arrives(1, "b").expect("start b").goes(1, served=False)
    p.exits("b", out_of_memory=True)


def test_a_driver_that_vanishes_leaves_the_promises(play_fit):
    """What is there in all, less what others had and what was promised."""
    p = play_fit({"a": 10, "b": 8, "c": 8}, models={"a": {"evict_cost": 99.0}})
    p.machine.foreign[0] = 4
    p.runs("a")
    p.machine.problem = "the driver does not answer"
    p.at(60).arrives(1, "b").expect("start b").ready("b").expect("grant 1").goes(1)
    assert p.snapshot().memory_problem == "the driver does not answer"
    p.arrives(2, "c").expect("stop b").exits("b").expect("start c")


def test_without_a_driver_from_the_beginning_groups_decide(play):
    """``auto``: until the first reading nothing starts, then the groups do."""
    p = play("ab", rules={"fit": FitSpec(when_measured=True, read_ahead=False)}).arrives(1, "a").expect("measure")
    assert p.snapshot().queue[0].blocked_by == "the memory is being measured"
    p.measured(NO_DEVICES).expect("start a").ready("a").expect("grant 1").goes(1)
    assert p.snapshot().rule is RuleKind.GROUP
    p.arrives(2, "b").expect("stop a").at(70).exits("a").expect("start b", "measure")


def test_a_first_reading_that_never_comes_is_not_waited_for_for_ever(play):
    """A driver may hang."""
    p = play("a", rules={"fit": FitSpec(when_measured=True)}).arrives(1, "a").expect("measure").wakes(5)
    p.expect("start a")


def test_a_driver_that_comes_later_takes_over(play_fit):
    """From groups to memory; what runs keeps running."""
    p = play_fit({"a": 10, "b": 8}, fit={"when_measured": True}, gpus=[])
    p.runs("a")
    p.machine.gpus, p.machine.foreign = [24], {0: 0}
    p.machine.takes_now("a", 10)
    p.at(10).measures().arrives(1, "b").expect("start b")
    assert p.snapshot().rule is RuleKind.FIT


def test_memory_that_nobody_accounts_for_may_be_that_of_an_old_instance(play_fit):
    """Started when groups decided, by a driver that does not say who has what: it may be asked to leave."""
    p = play_fit({"a": 16, "b": 14}, fit={"when_measured": True}, gpus=[])
    p.runs("a")
    p.machine.gpus, p.machine.foreign, p.machine.tells_who = [24], {0: 0}, False
    p.machine.takes_now("a", 16)
    p.at(10).measures().arrives(1, "b").expect("stop a").exits("a").expect("start b")


def test_an_instance_that_was_started_under_groups_counts_with_what_it_holds(play_fit):
    """Also before it is ready; a guess is never less than what was seen."""
    p = play_fit({"g": 7, "f": 20})
    p.reloads(replace(p.spec, fit=None)).arrives(1, "g").expect("start g").at(1).measures()
    p.at(20).reloads(replace(p.spec, fit=FitSpec(headroom_bytes=0))).arrives(2, "f")
    assert "g is loading" in p.snapshot().queue[1].blocked_by


def test_memory_on_its_way_back_is_waited_for(play_fit):
    """R11: the driver says free only after a while; the next start does not land on the CPU."""
    p = play_fit({"a": 16, "b": 14}).runs("a").arrives(1, "b").expect("stop a")
    p.machine.slow = {"a"}
    p.at(1).exits("a")
    assert p.phase("a") is Standing.RELEASING
    assert p.snapshot().queue[0].blocked_by == "the memory of a is on its way back"
    p.wakes(1.075).wakes(1.15)
    p.machine.lingering.clear()
    p.at(1.5).ticks().expect("start b")
    assert p.snapshot().release_lag_seconds == 0.5


@pytest.mark.parametrize("is_measured", [True, False])
def test_what_others_take_meanwhile_is_not_waited_for(play_fit, is_measured):
    """A game starts while a model leaves: that memory is not on its way back, and hides nothing that is."""
    p = play_fit({"a": 16, "b": 14}, decides=False)
    p.answers = is_measured
    p.arrives(1, "a").expect("start a").ready("a").expect("grant 1", *([] if is_measured else ["measure"])).goes(1)
    p.arrives(2, "b").expect("stop a")
    p.machine.slow = {"a"}
    p.answers = True
    p.at(1).exits("a")
    p.machine.foreign[0] = 5
    p.at(1.1).measures().at(1.2).ticks().at(1.3).ticks()
    assert p.phase("a") is Standing.RELEASING
    p.machine.lingering.clear()
    p.at(1.4).ticks().expect("start b")


def test_what_others_take_that_is_not_listed_is_waited_for(play_fit):
    """Nobody can tell it from what a model has left behind."""
    p = play_fit({"a": 16, "b": 14}, decides=False, release=2.0).runs("a").arrives(1, "b").expect("stop a")
    p.machine.slow, p.machine.lists_others = {"a"}, False
    p.at(1).exits("a")
    p.machine.lingering.clear()
    p.machine.foreign[0] = 5
    p.at(2).ticks().at(2.9).ticks()
    assert p.phase("a") is Standing.RELEASING
    p.at(3).ticks().expect("start b")


def test_memory_that_never_comes_back_is_given_up(play_fit):
    """After the release timeout; what then does not fit is refused with the truth."""
    p = play_fit({"a": 16, "b": 14}, release=2.0).runs("a").arrives(1, "b").expect("stop a")
    p.machine.slow = {"a"}
    p.at(1).exits("a").at(2).ticks().at(3).ticks().expect("reject 1 does_not_fit").message("16.0 GiB used by others")
    assert p.snapshot().release_lag_seconds == 2


def test_most_of_it_back_is_back(play_fit):
    """Drivers keep some; but as long as more and more comes back it is waited for."""
    p = play_fit({"a": 16, "b": 14}, decides=False).runs("a").arrives(1, "b").expect("stop a")
    p.machine.slow = {"a"}
    p.at(1).exits("a")
    p.machine.lingering[:] = [("GPU-0", 4 * GIB)]
    p.at(2).ticks()
    p.machine.lingering[:] = [("GPU-0", 3 * GIB)]
    p.at(2.1).ticks().at(2.2).ticks().expect("start b")


def test_enough_is_enough(play_fit):
    """Where memory decides a start does not wait for what it does not need."""
    p = play_fit({"a": 16, "b": 14}).runs("a").arrives(1, "b").expect("stop a")
    p.machine.slow = {"a"}
    p.at(1).exits("a")
    p.machine.lingering[:] = [("GPU-0", 8 * GIB)]
    p.at(2).ticks().expect("start b")
    assert p.phase("a") is Standing.RELEASING


def test_a_neighbour_that_loads_does_not_hide_the_return(play_fit):
    """What it took meanwhile is counted."""
    p = play_fit({"a": 10, "b": 10, "c": 12}, models={"b": {"evict_cost": 99.0}})
    p.machine.takes["b"] = 0
    p.runs("a").arrives(1, "b").expect("start b").arrives(2, "c").expect("stop a")
    p.machine.slow = {"a"}
    p.at(1).exits("a")
    p.machine.takes_now("b", 10)
    p.machine.lingering.clear()
    p.at(2).ticks().expect("start c")


def test_a_crashed_model_gives_its_memory_back_first(play_fit):
    """Also without anybody asking it to stop; its next start waits for that."""
    p = play_fit({"a": 16}).runs("a").arrives(1, "a").expect("grant 1")
    p.machine.slow = {"a"}
    p.at(1).exits("a", "signal 11").goes(1, served=False).arrives(2, "a")
    assert p.snapshot().instances[0].phase is Phase.RELEASING
    p.machine.lingering.clear()
    p.at(2).ticks().expect("start a")


def test_groups_wait_for_memory_too(play_fit):
    """Where devices are measured, whatever decides."""
    p = play_fit({"a": 16, "b": 16}, decides=False).runs("a").arrives(1, "b").expect("stop a")
    p.machine.slow = {"a"}
    p.at(1).exits("a")
    assert p.snapshot().rule is RuleKind.GROUP
    p.machine.lingering.clear()
    p.at(2).ticks().expect("start b")


@pytest.mark.parametrize("is_ready", [True, False])
def test_memory_that_no_reading_has_shown_is_waited_for(play_fit, is_ready):
    """Also where it was gone before it was looked at: what was free before its start is what has to be free again."""
    p = play_fit({"a": 16, "b": 16}, decides=False)
    p.answers = False
    p.arrives(1, "a").expect("start a")
    if is_ready:
        p.ready("a").expect("grant 1", "measure").goes(1)
        p.machine.slow = {"a"}
        p.arrives(2, "b").expect("stop a").at(1).exits("a").measured(p.machine.measured(0), at=0.1).expect("measure")
    else:
        p.machine.slow = {"a"}
        p.at(1).exits("a").expect("reject 1 start_failed", "measure").arrives(2, "b")
    p.measures().at(2).ticks().expect("measure")
    assert p.phase("a") is Standing.RELEASING
    p.machine.lingering.clear()
    p.measures().expect("start b")


def test_a_driver_that_does_not_say_who_has_what_and_a_model_that_loads(play_fit):
    """What it took already is not taken for the use of others: nobody is refused for it, and no yield begins."""
    p = play_fit({"b": 3, "a": 6}, gpus=[8], yielding={"free_below_bytes": GIB})
    p.machine.tells_who = False
    p.at(10).measures().arrives(1, "b").expect("start b").at(11).ticks().at(12).arrives(2, "a")
    assert p.snapshot().queue[1].blocked_by == "what b takes is not known before it is ready"
    p.machine.takes_now("b", 7.5)
    p.at(14).ticks()
    assert not p.snapshot().yields
    p.machine.takes_now("b", 3)
    p.at(16).ready("b").expect("grant 1").goes(1).expect("stop b").exits("b").expect("start a")


@pytest.mark.parametrize("free_below", [0, 4])
def test_what_ran_before_a_restart_of_the_service_is_waited_for(play_fit, free_below):
    """Its memory looks like that of others, and may be on its way back: no refusal and no yield at once."""
    p = play_fit({"b": 18}, foreign=[22], yielding={"free_below_bytes": free_below * GIB})
    p.at(1).arrives(1, "b")
    assert p.snapshot().queue[0].blocked_by == "the memory of what ran before is on its way back"
    p.machine.foreign[0] = 0
    p.at(2).ticks().expect("start b")


@pytest.mark.parametrize(("free_below", "refusal"), [(0, "does_not_fit"), (4, "yielded")])
def test_what_is_not_back_in_time_after_a_restart_is_that_of_others(play_fit, free_below, refusal):
    """Then the usual answers are given."""
    p = play_fit({"b": 18}, foreign=[22], yielding={"free_below_bytes": free_below * GIB})
    p.at(1).arrives(1, "b").at(4.9).ticks().at(5.2).ticks().expect(f"reject 1 {refusal}")


def test_a_reading_in_flight_while_a_process_ends(play_fit):
    """It began before the exit and found nobody any more, but the memory is not back."""
    p = play_fit({"a": 16, "b": 14}).runs("a").at(1).measures().arrives(1, "b").expect("stop a")
    p.machine.slow = {"a"}
    p.machine.exits(p.instance_ids["a"], "a")
    p.at(1.5).measured(p.machine.measured(0), at=1.2).at(1.6).exits("a")
    assert p.phase("a") is Standing.RELEASING
    p.machine.lingering.clear()
    p.at(2).ticks().expect("start b")


def test_when_memory_is_given_up_a_new_reading_decides(play_fit):
    """The last one began while it was still on its way."""
    p = play_fit({"a": 16, "b": 14}, release=2.0).runs("a").arrives(1, "b").expect("stop a")
    p.machine.slow = {"a"}
    p.at(1).exits("a").at(2.9).ticks()
    p.machine.lingering.clear()
    p.at(3).ticks().expect("start b")


def test_shutting_down_waits_for_no_memory(play_fit):
    """There is nobody left who wants it."""
    p = play_fit({"a": 16}).runs("a")
    p.machine.slow = {"a"}
    p.unloads("a").expect("stop a").exits("a").shuts_down()
    assert p.snapshot().is_finished


def test_a_late_second_exit_changes_nothing(play_fit):
    """Also while the memory is on its way back."""
    p = play_fit({"a": 16}).runs("a")
    p.machine.slow = {"a"}
    p.unloads("a").expect("stop a").exits("a").exits("a")
    assert p.phase("a") is Standing.RELEASING


def test_a_request_that_the_reading_is_older_than_is_not_refused_by_it(play_fit):
    """What others used before it came may be free by now."""
    p = play_fit({"a": 20})
    p.machine.foreign[0] = 14
    p.at(1).measures()
    p.machine.foreign[0] = 0
    p.at(1.1).arrives(1, "a").expect("start a")


def test_the_file_is_read_ahead_once_for_a_claim(play_fit):
    """While the victims leave."""
    p = play_fit({"a": 16, "b": 12}, fit={"read_ahead": True}).runs("a").arrives(1, "b").expect("stop a", "read b")
    p.at(1).ticks().exits("a").expect("start b").ready("b").expect("grant 1").goes(1)
    p.at(20).arrives(2, "a").expect("stop b", "read a")
