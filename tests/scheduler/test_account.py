"""The sums in words: which key keeps what free, and what makes them less than certain."""

import pytest

from llama_swap.scheduler.memory import Need, NeedSource
from llama_swap.scheduler.spec import WhileYielded

from .cards import GIB, need

SMALLER = "A smaller context, a smaller quantization"


def lines(play, model):
    """The sums of what it needs."""
    return play.assessed(model, play.needs[model]).explain(model).memory.lines


@pytest.mark.parametrize(
    ("fit", "yielding", "key"),
    [
        ({"headroom_bytes": 4 * GIB}, None, "headroom"),
        ({}, {"free_below_bytes": 4 * GIB}, "yield.freeBelow"),
        ({"headroom_bytes": 4 * GIB}, {"free_below_bytes": 4 * GIB}, "headroom"),
        ({"headroom_bytes": GIB}, {"free_below_bytes": 4 * GIB}, "yield.freeBelow"),
    ],
)
def test_what_keeps_memory_free_is_named(play_fit, fit, yielding, key):
    """What would fit without it is told so, since a smaller model is not what helps; the rest is told the usual."""
    p = play_fit({"a": 21, "b": 25}, fit=fit, yielding=yielding)
    p.arrives(1, "a").expect("reject 1 does_not_fit").message(
        f"4.0 GiB kept free ({key})", f"less were kept free ({key})"
    )
    p.arrives(2, "b").expect("reject 2 does_not_fit").message(SMALLER)


def test_more_kept_free_than_there_is(play_fit):
    """No model of any size could start, so none is told to become smaller."""
    p = play_fit({"a": 1}, gpus=[8, 4], yielding={"free_below_bytes": 30 * GIB}).arrives(1, "a")
    p.expect("reject 1 does_not_fit").message("at most 0.0 GiB", "It would if less were kept free (yield.freeBelow)")


def test_the_machine_s_own_memory_has_a_key_of_its_own(play_fit):
    """Also for a model that takes from both."""
    keys = {"host": 16, "fit": {"host_headroom_bytes": 8 * GIB, "headroom_bytes": GIB}}
    both = need(6, host_bytes=10 * GIB)
    p = play_fit({"a": both}, **keys).arrives(1, "a").expect("reject 1 does_not_fit")
    p.message(
        "1.0 GiB kept free (headroom)", "8.0 GiB kept free (hostHeadroom)", "if less were kept free (hostHeadroom)"
    )
    p = play_fit({"a": 10}, gpus=[], **keys).arrives(1, "a").expect("reject 1 does_not_fit")
    p.message("It would if less were kept free (hostHeadroom)")


def test_one_that_makes_itself_smaller_is_measured_by_its_least(play_fit):
    """What it wants is no reason to keep less free."""
    adapts = Need(NeedSource.ESTIMATED, 40 * GIB, least_bytes=21 * GIB)
    p = play_fit({"a": adapts}, fit={"headroom_bytes": 4 * GIB}).arrives(1, "a").expect("reject 1 does_not_fit")
    p.message("It would if less were kept free (headroom)")


def test_what_was_not_enough_for_one_of_unknown_need(play_fit):
    """It had all that was free, so nobody leaves again for less than that; for more it is tried again."""
    u = need(None, too_few_bytes=20 * GIB)
    p = play_fit({"b": 4, "u": u}, gpus=[24]).runs("b")
    p.machine.foreign[0] = 4
    p.at(5).arrives(1, "u").expect("reject 1 does_not_fit").message(
        "unknown; 20.0 GiB of devices were not enough", "4.0 GiB used by others"
    )
    p.machine.foreign[0] = 3
    p.at(10).arrives(2, "u").expect("stop b").exits("b").expect("start u")


def test_what_was_not_enough_on_the_whole_machine(play_fit):
    """Keeping less free does not help it, and on a machine without devices it says nothing."""
    u = need(None, too_few_bytes=24 * GIB)
    p = play_fit({"b": 4, "u": u}, gpus=[24], fit={"headroom_bytes": GIB}).runs("b")
    p.at(5).arrives(1, "u").expect("reject 1 does_not_fit").message(SMALLER)
    play_fit({"u": u}, gpus=[]).arrives(1, "u").expect("start u")


def test_a_device_that_is_not_there(play_fit):
    """The division says nothing then, and whoever asks is told so."""
    p = play_fit({"a": {"0": 6, "7": 2}, "b": {"0": 6, "1": 2}}, gpus=[24, 12])
    assert "there is no device 7, so only the sum of what is declared counts" in lines(p, "a")
    assert not any("there is no device" in line for line in lines(p, "b"))
    assert not any("there is no device" in line for line in lines(play_fit({"a": {"7": 2}}, gpus=[]), "a"))


def test_figures_of_before(play_fit):
    """While the driver does not answer, the sums and the refusal say that they are none of now."""
    p = play_fit({"a": 30})
    p.machine.problem = "the driver is not loaded"
    p.at(2).arrives(1, "a").expect("reject 1 does_not_fit")
    p.message("what is free of devices is not known now: the driver is not loaded")
    assert lines(p, "a")[-1].endswith("not known now: the driver is not loaded")
    host = play_fit({"a": 70}, gpus=[])
    host.machine.problem = "no driver here"
    host.at(2).arrives(1, "a").expect("reject 1 does_not_fit")
    assert not any("no driver" in line for line in lines(host, "a"))


@pytest.mark.parametrize("requests", list(WhileYielded))
def test_what_others_used_before_refuses_for_a_while_only(play_fit, requests):
    """The driver does not answer: what is short only for others may be there by now, and who waits goes on waiting."""
    yielding = {"free_below_bytes": 2 * GIB, "requests": requests} if requests is WhileYielded.WAIT else {}
    p = play_fit({"a": 10, "b": 18, "c": {"0": 20}, "h": need(0, host_bytes=90 * GIB)}, yielding=yielding)
    p.machine.foreign[0] = 12
    p.at(10).runs("a").unloads("a").expect("stop a").exits("a")
    p.machine.problem = "the driver is being reloaded"
    for request_id, model in (1, "b"), (2, "c"):
        p.at(20 + request_id).arrives(request_id, model)
        if requests is WhileYielded.REFUSE:
            p.expect(f"reject {request_id} memory_unknown")
            p.message("figures that are old", "12.0 GiB used by others", "not known now: the driver is being reloaded")
            assert p.commands[0].retry_after_seconds == 5
    p.arrives(3, "h").expect("reject 3 does_not_fit")
    p.machine.foreign[0], p.machine.problem = 0, ""
    p.at(30).ticks()
    if requests is WhileYielded.WAIT:
        p.expect("start b")
    else:
        p.arrives(4, "b").expect("start b")


def test_memory_of_the_machine_is_known_without_a_driver(play_fit):
    """What others use of it is measured, whatever becomes of the devices."""
    p = play_fit({"a": 4, "h": need(0, host_bytes=40 * GIB)})
    p.machine.host_foreign = 30
    p.runs("a").machine.problem = "the driver is being reloaded"
    p.at(20).arrives(1, "h").expect("reject 1 does_not_fit").message("30.0 GiB used by others")


def test_what_it_holds_now(play_fit):
    """A model that runs may have taken another amount than it was started with."""
    p = play_fit({"a": 4}, gpus=[24, 12]).runs("a")
    p.machine.takes_now("a", 14, number=1)
    p.at(2).measures()
    need_line, held, *_ = lines(p, "a")
    assert need_line.startswith("needs 4.0 GiB")
    assert held == f"holds 14.0 GiB of {p.snapshot().pools[-1].label}"
    assert not any(line.startswith("holds") for line in lines(play_fit({"a": 4}), "a"))
    p.unloads("a").expect("stop a").exits("a")
    assert not any(line.startswith("holds") for line in lines(p, "a"))
