"""A model is started once for all who want it, and a ready model serves at once."""

import sys

from llama_swap.scheduler.events import RequestArrived, RequestGone
from llama_swap.scheduler.spec import GroupSpec


def test_a_cold_model_is_started_for_its_first_request(play):
    """The request waits for the readiness probe, then gets its lease."""
    p = play("a")
    p.at(0).arrives(1, "a").expect("start a").because("a request waits for a")
    p.at(5).ready("a").expect("grant 1").because("a is ready")


def test_a_ready_model_serves_at_once(play):
    """Nothing in the way: the lease comes with the arrival."""
    play("a").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "a").expect("grant 2")


def test_one_start_serves_all_waiters_in_the_order_of_arrival(play):
    """Parallel cold requests share one process."""
    p = play("a").arrives(3, "a").expect("start a")
    p.arrives(1, "a").arrives(2, "a")
    p.ready("a").expect("grant 3", "grant 1", "grant 2")
    assert [command.request_id for command in p.commands] == [3, 1, 2]


def test_a_cold_model_beside_a_loading_one_waits_for_its_place(play):
    """Models of one swapping group load one after the other, each serving its waiters first."""
    p = play("ab").arrives(1, "a").expect("start a").arrives(2, "b")
    p.ready("a").expect("grant 1").goes(1).expect("stop a").because("b needs the place of a; a is idle")
    p.exits("a").expect("start b").ready("b").expect("grant 2")


def test_the_next_model_starts_only_when_the_last_one_has_exited(play):
    """Asking a process to stop frees nothing; its confirmed exit does."""
    p = play("ab").loaded("a").at(1).arrives(1, "b").expect("stop a")
    p.at(5).ticks().at(9).exits("a").expect("start b")


def test_a_swap_never_cuts_a_request(play):
    """A victim with leases stays until the last of them ended."""
    p = play("ab").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "a").expect("grant 2")
    p.arrives(3, "b").goes(1).goes(2).expect("stop a").exits("a").expect("start b")


def test_the_frequent_case_is_short(play):
    """A request to a ready model costs a fixed few calls, however many models are loaded."""
    counts = []
    for models in ("ab", "abcdefghijklmnop"):
        scheduler = _all_loaded(play, models)
        calls = 0

        def count(_frame, event, _argument):
            nonlocal calls
            calls += event == "call"

        sys.setprofile(count)
        try:
            scheduler.handle(RequestArrived(1, "a"), now=1.0)
            scheduler.next_deadline()
            scheduler.handle(RequestGone(1, served=True), now=1.0)
            scheduler.next_deadline()
        finally:
            sys.setprofile(None)
        counts.append(calls)
    assert counts[0] == counts[1] <= 40


def _all_loaded(play, models):
    p = play(models, [GroupSpec("all", tuple(models), swap=False)], ttl_seconds=60)
    for number, model in enumerate(models):
        p.loaded(model, 1000 + number)
    return p.scheduler
