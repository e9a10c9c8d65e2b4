"""Several candidates that are judged in one round: each sees what the ones before it took or claimed."""

import pytest

from llama_swap.scheduler import Standing


def ask_at_once(p, **needs):
    """Requests 1, 2, ... for models whose needs (GiB) are known before the reading that all of them wait for."""
    p.answers = False
    for request_id, model in enumerate(needs, start=1):
        measure = ("measure",) if request_id == 1 else ()
        p.arrives(request_id, model).expect(f"assess {model}", *measure)
    for model, size in needs.items():
        p.assessed(model, size)
    return p.measures()


@pytest.mark.parametrize("first", ["x", "y"])
def test_two_claimants_evict_two_idle_models(play_fit, first):
    """Both would rather have the place of the cheap one; the first has it, and its room counts only once."""
    models = {"cheap": {"evict_cost": 1.0}, "dear": {"evict_cost": 9.0}}
    second = "xy".replace(first, "")
    p = play_fit({"cheap": 12, "dear": 12, "x": 12, "y": 12}, models=models).runs("cheap", "dear").at(60)
    ask_at_once(p, **{first: 12, second: 12}).expect("stop cheap", "stop dear")
    assert {command.model: command.needed_by for command in p.commands} == {"cheap": first, "dear": second}
    p.answers = True
    p.exits("cheap").expect(f"start {first}").exits("dear").expect(f"start {second}")


def test_two_overdue_claimants_drain_two_busy_models(play_fit):
    """The second would wait for ever if it counted on the place that is drained for the first."""
    p = play_fit({"a": 12, "b": 12, "x": 12, "y": 12}, limits={"max_wait_seconds": 10.0}).runs("a", "b")
    p.arrives(1, "a").expect("grant 1").arrives(2, "b").expect("grant 2").arrives(3, "x").arrives(4, "y")
    p.at(10).ticks()
    assert (p.phase("a"), p.phase("b")) == (Standing.DRAINING, Standing.DRAINING)
    p.arrives(5, "a").arrives(6, "b").goes(1).expect("stop a").goes(2).expect("stop b")
    p.exits("a").expect("start x").exits("b").expect("start y")


def test_a_claimant_that_needs_more_than_one_place_leaves_the_other_one_s(play_fit):
    """The second takes two others rather than a share of what goes already."""
    models = {name: {"evict_cost": cost} for name, cost in {"a": 1.0, "b": 5.0, "c": 5.0}.items()}
    p = play_fit({"a": 8, "b": 8, "c": 8, "x": 8, "y": 16}, models=models).runs("a", "b", "c").at(60)
    ask_at_once(p, x=8, y=16).expect("stop a", "stop b", "stop c")
    assert {command.model: command.needed_by for command in p.commands} == {"a": "x", "b": "y", "c": "y"}


def test_a_claim_counts_without_what_starts_before_it(play_fit):
    """8 of the 12 GiB that are free are left to the second: the small idle one's place would not do."""
    models = {"small": {"evict_cost": 1.0}, "large": {"evict_cost": 5.0}}
    p = play_fit({"small": 4, "large": 8, "x": 4, "y": 16}, models=models).runs("small", "large").at(60)
    ask_at_once(p, x=4, y=16).expect("start x", "stop large")
    p.answers = True
    p.exits("large").expect("start y")


def test_a_claim_makes_room_at_once_where_one_start_took_the_rest(play_fit):
    """There was room for either of them, not for both."""
    p = play_fit({"idle": 10, "x": 10, "y": 12}).runs("idle").at(60)
    ask_at_once(p, x=10, y=12).expect("start x", "stop idle")


def test_who_is_overdue_takes_the_cheapest_however_young(play_fit):
    """Past the maximum wait no dearer model leaves in the place of one that became ready just now."""
    models = {"young": {"evict_cost": 1.0}, "old": {"evict_cost": 9.0}}
    fit = {"min_residency_seconds": 60.0}
    p = play_fit({"old": 12, "young": 12, "x": 12}, models=models, fit=fit, limits={"max_wait_seconds": 10.0})
    p.runs("old").at(95).runs("young").at(96)
    p.answers = False
    p.measures().arrives(1, "x").expect("assess x").at(107).measures().assessed("x", 12).expect("stop young")


def test_who_is_not_overdue_yet_takes_the_one_that_has_rested(play_fit):
    """The counterpart: until then a dearer one goes rather than one that became ready just now."""
    models = {"young": {"evict_cost": 1.0}, "old": {"evict_cost": 9.0}}
    fit = {"min_residency_seconds": 60.0}
    p = play_fit({"old": 12, "young": 12, "x": 12}, models=models, fit=fit, limits={"max_wait_seconds": 10.0})
    p.runs("old").at(95).runs("young").at(96).arrives(1, "x").expect("stop old")


def test_who_divides_itself_takes_nothing_of_a_claim_either(play_fit):
    """There is enough for it now, and will be later; but what is there now is somebody else's then."""
    models = {"c": {"devices": ("0",)}, "x": {"devices": ("0", "1")}}
    p = play_fit({"p": {"0": 2}, "l": {"1": 12}, "c": 12, "x": 10}, gpus=[12, 12], models=models).runs("p", "l")
    p.unloads("l").expect("stop l").arrives(1, "c").expect("stop p").arrives(2, "x")
    p.exits("p").expect("start c").exits("l").expect("start x")
    assert p.claims("x") == {"GPU-1": 10}


def test_its_own_last_instance_makes_room_once(play_fit):
    """It leaves already, and needs more by now: another one has to go, too, and does so at once."""
    p = play_fit({"a": 10, "v": 8}).runs("a", "v").unloads("a").expect("stop a").assessed("a", 20)
    p.arrives(1, "a").expect("stop v").exits("v").exits("a").expect("start a")


def test_a_pinned_model_that_leaves_is_waited_for(play_fit):
    """Nobody is refused for what it still holds."""
    p = play_fit({"p": 16, "b": 20}, models={"p": {"pin": True}}).runs("p").unloads("p").expect("stop p")
    p.arrives(1, "b").exits("p").expect("start b")


def test_what_is_about_to_start_is_in_the_way_of_a_later_one(play_fit):
    """As it is when it loads: who is overdue claims its place, and has its file read ahead."""
    p = play_fit({"a": 16, "d": 16}, fit={"read_ahead": True}, limits={"max_wait_seconds": 4})
    p.answers = False
    p.arrives(1, "a").expect("assess a").arrives(2, "d").expect("assess d").at(5).assessed("a", 16).expect("measure")
    p.assessed("d", 16).expect("read d").measures().expect("start a")


def test_an_unknown_need_starts_beside_a_pinned_one_that_starts(play_fit):
    """That one never leaves, so nothing is gained by waiting for it."""
    p = play_fit({"c": 14, "e": None}, models={"c": {"pin": True}})
    p.answers = False
    p.arrives(1, "c").expect("assess c").arrives(2, "e").expect("assess e").at(5).assessed("c", 14).expect("measure")
    p.assessed("e", None).measures().expect("start c", "start e")
    assert (p.claims("c"), p.claims("e")) == ({"GPU-0": 14}, {"GPU-0": 10})
