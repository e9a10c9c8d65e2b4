"""A llama-server that makes itself smaller where memory is short: what it would like is a wish, no reason to refuse."""

from dataclasses import replace

import pytest
from cards import GIB

from llama_swap.scheduler.explain import Outcome
from llama_swap.scheduler.memory import HOST, Need, NeedSource


def adapts(size, least, source=NeedSource.LEARNED, **keys):
    """It would like so many GiB of devices, and runs with the least."""
    return Need(source, device_bytes=int(size * GIB), least_bytes=int(least * GIB), **keys)


def test_it_gets_what_it_wants_beside_others(play_fit):
    """Where that is there, nobody leaves and nothing else is kept for it."""
    p = play_fit({"a": 8, "x": adapts(16, 5)}).runs("a").arrives(1, "x").expect("start x")
    assert p.claims("x") == {"GPU-0": 16}


def test_the_cheapest_leave_for_what_it_wants(play_fit):
    """As for any other model: only as many as it takes."""
    p = play_fit({"a": 8, "b": 6, "x": adapts(16, 5)}, models={"a": {"evict_cost": 9}, "b": {"evict_cost": 1}})
    p.runs("a", "b").arrives(1, "x").expect("stop b").exits("b").expect("start x")


def test_what_it_once_took_is_no_reason_to_refuse_it(play_fit):
    """Others have some of it now: it gets the rest, alone, until it is seen how much it took."""
    p = play_fit({"a": 4, "x": adapts(22.8, 5), "c": 2}).runs("a")
    p.machine.foreign[0] = 3
    p.machine.takes["x"] = 19
    p.at(5).arrives(1, "x").expect("stop a").exits("a").expect("start x")
    assert p.claims("x") == {"GPU-0": 21}
    p.arrives(2, "c").ready("x").expect("grant 1", "start c")
    assert p.claims("x") == {"GPU-0": 19}


def test_it_waits_for_those_in_use(play_fit):
    """To make do is no reason to cut anybody."""
    p = play_fit({"a": 4, "x": adapts(22, 5)}).runs("a")
    p.machine.foreign[0] = 3
    p.machine.takes["x"] = 19
    p.at(5).arrives(1, "a").expect("grant 1").arrives(2, "x")
    p.goes(1).expect("stop a").exits("a").expect("start x")


def test_below_its_least_it_is_refused(play_fit):
    """And nobody is evicted for nothing; explain says both figures."""
    p = play_fit({"a": 4, "x": adapts(22.8, 5)}).runs("a")
    p.machine.foreign[0] = 19.5
    p.at(5).arrives(1, "x").expect("reject 1 does_not_fit")
    p.message("needs 22.8 GiB", "makes itself smaller: takes what there is, at least 5.0 GiB", "at most 4.5 GiB")
    assert p.explain("x").outcome is Outcome.REFUSED


def test_explain_says_that_it_makes_do(play_fit):
    """With what there is, and who leaves for it."""
    p = play_fit({"a": 4, "x": adapts(22.8, 5)}).runs("a")
    p.machine.foreign[0] = 3
    p.at(5).measures().assessed("x", p.needs["x"])
    said = p.explain("x")
    assert said.outcome is not Outcome.REFUSED
    assert said.rule.victims == ("a",)
    assert "makes itself smaller: takes what there is, at least 5.0 GiB" in said.memory.lines[0]


def test_it_makes_do_with_all_devices(play_fit):
    """Not with the smallest that holds its least."""
    p = play_fit({"x": adapts(34, 5)}, gpus=[24, 12])
    p.machine.foreign[0] = 3
    p.machine.takes["x"] = 31
    p.at(5).arrives(1, "x").expect("start x")
    assert p.claims("x") == {"GPU-0": 21, "GPU-1": 12}


def test_it_makes_do_with_the_devices_that_are_not_yielded(play_fit):
    """And sees no others."""
    p = play_fit({"x": adapts(30, 5)}, gpus=[24, 12]).yields("0").arrives(1, "x").expect("start x")
    assert p.commands[-1].devices == ("GPU-1",)


def test_it_does_not_make_do_with_a_part_of_the_devices_that_it_names(play_fit):
    """It would use the yielded one, too."""
    p = play_fit({"x": adapts(30, 5)}, gpus=[24, 12], models={"x": {"devices": ("0", "1")}}).yields("0")
    p.arrives(1, "x").expect("reject 1 yielded")


def test_an_unknown_need_does_not_take_a_part_of_the_devices_that_it_names(play_fit):
    """As above."""
    p = play_fit({"x": None}, gpus=[24, 12], models={"x": {"devices": ("*",)}}).yields("0")
    p.arrives(1, "x").expect("reject 1 yielded")


def test_it_makes_do_beside_pinned_models(play_fit):
    """They stay, and that is why it has to."""
    p = play_fit({"a": 10, "x": adapts(22, 5)}, models={"a": {"pin": True}}).runs("a").arrives(1, "x").expect("start x")
    assert p.claims("x") == {"GPU-0": 14}


def test_models_of_the_cpu_stay_while_it_makes_do(play_fit):
    """It takes devices; of the host no more than it needs."""
    needs = {"cpu": Need(NeedSource.DECLARED, host_bytes=20 * GIB), "x": adapts(22, 5, host_bytes=2 * GIB)}
    p = play_fit(needs, models={"cpu": {"devices": ()}}).runs("cpu")
    p.machine.foreign[0] = 4
    p.at(5).arrives(1, "x").expect("start x")
    assert p.claims("x") == {"GPU-0": 20, HOST: 2}


def test_models_of_the_cpu_leave_where_the_host_is_short(play_fit):
    """Then the cheapest of them."""
    cpu = Need(NeedSource.DECLARED, host_bytes=20 * GIB)
    needs = {"a": cpu, "b": cpu, "x": adapts(22, 5, host_bytes=30 * GIB)}
    special = {"a": {"devices": (), "evict_cost": 9}, "b": {"devices": (), "evict_cost": 1}}
    p = play_fit(needs, models=special).runs("a", "b")
    p.machine.foreign[0] = 4
    p.at(5).arrives(1, "x").expect("stop b").exits("b").expect("start x")


def test_without_devices_nobody_makes_itself_smaller(play_fit):
    """``--fit`` looks at devices alone, so that the machine would run out of memory."""
    p = play_fit({"x": adapts(40, 5)}, gpus=[], host=32).arrives(1, "x").expect("reject 1 does_not_fit")
    assert p.snapshot().queue == ()


@pytest.mark.parametrize("wish", [adapts(22, 5), Need(NeedSource.UNKNOWN, least_bytes=5 * GIB)])
def test_of_parts_of_a_card_it_makes_do_with_the_largest(play_fit, wish):
    """One process sees only one of them (MIG); so does one whose need is not known."""
    p = play_fit({"x": wish}, gpus=[8, 12, 6])
    cards = p.machine.measured(0.0)
    parts = tuple(replace(pool, pool=pool.pool.replace("GPU", "MIG")) for pool in cards.pools)
    p.measured(replace(cards, pools=parts)).arrives(1, "x").expect("start x")
    assert p.commands[-1].devices == ("MIG-1",)


def test_an_unknown_need_has_a_least(play_fit):
    """One that wants more than there is gets all of it, but not if that is too little for it in any case."""
    wish = Need(NeedSource.UNKNOWN, least_bytes=5 * GIB)
    p = play_fit({"x": wish})
    p.machine.foreign[0] = 20
    p.at(5).arrives(1, "x").expect("reject 1 does_not_fit")
    p.message("what it needs is unknown; makes itself smaller: takes what there is, at least 5.0 GiB")
    p.machine.foreign[0] = 18
    p.at(10).arrives(2, "x").expect("start x")


def test_what_memory_running_out_added_is_taken_off_first(play_fit):
    """Then it gets what it wants, and only if that is not there either it makes do."""
    wish = adapts(30, 5, added_bytes=10 * GIB)
    p = play_fit({"x": wish}).arrives(1, "x").expect("start x")
    assert p.claims("x") == {"GPU-0": 24}
    p = play_fit({"x": wish})
    p.machine.foreign[0] = 10
    p.machine.takes["x"] = 13
    p.at(5).arrives(1, "x").expect("start x")
    assert p.claims("x") == {"GPU-0": 14}


def test_a_pinned_model_of_unknown_need_is_let_load_first(play_fit):
    """It may take everything or next to nothing: nobody is refused for it, or starts into what it leaves, before."""
    p = play_fit({"e": None, "b": 5, "u": None}, models={"e": {"pin": True}})
    p.arrives(1, "e").expect("start e").arrives(2, "b").arrives(3, "u")
    assert p.explain("b").waits_for == "what e takes is not known before it is ready, e comes first"
    p.machine.takes_now("e", 18)
    p.at(9).ready("e").expect("grant 1", "start b").ready("b").expect("grant 2").goes(2).expect("stop b")
    p.exits("b").expect("start u")
    assert p.claims("u") == {"GPU-0": 6}


def test_who_waits_for_a_pinned_model_of_unknown_need_may_be_refused_then(play_fit):
    """Once it is seen what that keeps."""
    p = play_fit({"e": None, "b": 10}, models={"e": {"pin": True}})
    p.arrives(1, "e").expect("start e").arrives(2, "b")
    p.machine.takes_now("e", 18)
    p.at(9).ready("e").expect("grant 1", "reject 2 does_not_fit")


def test_a_pinned_model_of_unknown_need_that_starts_refuses_nobody(play_fit):
    """Nor does it in the step in which it starts past an earlier waiter."""
    p = play_fit({"a": 10, "b": 40, "e": None}, gpus=[24, 24], models={"e": {"pin": True, "devices": ("1",)}})
    p.runs("a").at(5).arrives(1, "a").expect("grant 1").arrives(2, "b").arrives(3, "e").expect("start e")
    assert p.explain("b").waits_for


def test_two_of_unknown_need_on_the_host_do_not_start_together(play_fit):
    """The first one is pinned, so it was not in the way of the second, which the next look started beside it."""
    p = play_fit({"a": None, "e": None, "b": None}, gpus=[], host=16, limits={"max_wait_seconds": 0})
    p.arrives(1, "a").expect("start a").arrives(2, "e").arrives(3, "b")
    p.answers = False
    p.ready("a").expect("grant 1", "measure")
    models = {"b": p.spec.models["b"], "e": replace(p.spec.models["e"], pin=True)}
    p.reloads(replace(p.spec, models=models)).measures().expect("start e")
