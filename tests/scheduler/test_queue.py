"""Who is next: collation, priority and bounded waiting."""

from llama_swap.scheduler.spec import GroupSpec


def test_requests_of_one_model_are_served_together(play):
    """A B C A B C is served A A B B C C with two swaps."""
    p = play("abc").arrives(1, "a").expect("start a").ready("a").expect("grant 1")
    p.arrives(2, "b").arrives(3, "c").arrives(4, "a").expect("grant 4").arrives(5, "b").arrives(6, "c")
    p.goes(1).goes(4).expect("stop a").exits("a").expect("start b").ready("b").expect("grant 2", "grant 5")
    p.goes(2).goes(5).expect("stop b").exits("b").expect("start c").ready("c").expect("grant 3", "grant 6")


def test_priority_goes_before_arrival(play):
    """D with a high priority runs before B and C, which came earlier."""
    p = play({"a": {}, "b": {}, "c": {}, "d": {"priority": 10}}).loaded("a").arrives(1, "a").expect("grant 1")
    p.at(1).arrives(2, "b").at(2).arrives(3, "c").at(3).arrives(4, "d")
    p.at(4).goes(1).expect("stop a").exits("a").expect("start d").ready("d").expect("grant 4")
    p.goes(4).expect("stop d").exits("d").expect("start b")


def test_a_later_request_of_higher_priority_takes_over_a_swap(play):
    """While a is still stopping for b the place can go to c."""
    p = play({"a": {}, "b": {}, "c": {"priority": 1}}).loaded("a").arrives(1, "b").expect("stop a")
    p.at(1).arrives(2, "c").exits("a").expect("start c")


def test_priority_does_not_starve(play):
    """A point of priority is worth max_wait seconds: an older request than that goes first."""
    p = play({"a": {}, "b": {}, "c": {"priority": 1}}, stop_grace_seconds=100).loaded("a")
    p.arrives(1, "b").expect("stop a").at(11).arrives(2, "c").exits("a").expect("start b")


def test_without_a_maximum_wait_priority_is_absolute(play):
    """max_wait 0 means nobody's age counts."""
    p = play({"a": {}, "b": {}, "c": {"priority": 1}}, limits={"max_wait_seconds": 0}, stop_grace_seconds=1000)
    p.loaded("a").arrives(1, "b").expect("stop a").at(900).arrives(2, "c").exits("a").expect("start c")


# --- bounded waiting -------------------------------------------------------------------


def test_overlapping_traffic_does_not_starve_another_model(play):
    """After max_wait newcomers to the resident model queue, its leases end, it is swapped out."""
    p = play("ab").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b")
    p.at(9).arrives(3, "a").expect("grant 3").goes(1)
    p.wakes(10)
    assert p.phase("a") == "draining"
    p.at(11).arrives(4, "a").goes(3).expect("stop a").exits("a").expect("start b").ready("b").expect("grant 2")
    p.at(12).goes(2).expect("stop b").exits("b").expect("start a").ready("a").expect("grant 4")


def test_the_order_of_arrival_holds_when_everybody_is_overdue(play):
    """Each model that runs serves those who wait for it, then the next one is up."""
    p = play("abc").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b").at(1).arrives(3, "c")
    p.at(10).ticks().at(20).ticks().arrives(4, "a").goes(1).expect("stop a").exits("a").expect("start b")
    p.at(30).ready("b").expect("grant 2").arrives(5, "b").goes(2).expect("stop b").exits("b").expect("start c")
    p.ready("c").expect("grant 3").goes(3).expect("stop c").exits("c").expect("start a")


def test_a_zero_maximum_wait_never_drains(play):
    """As llama-swap: the resident model goes on as long as it is wanted."""
    p = play("ab", limits={"max_wait_seconds": 0}).loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b")
    p.at(10_000).arrives(3, "a").expect("grant 3").wakes(None)


def test_all_victims_drain_together(play):
    """The idle one keeps its process until the busy one is done, but takes no newcomers."""
    p = play("abc", [GroupSpec("g", ("a", "b"), swap=False, exclusive=False)]).loaded("a").loaded("b")
    p.arrives(1, "b").expect("grant 1").arrives(2, "c").wakes(10)
    assert (p.phase("a"), p.phase("b")) == ("draining", "draining")
    p.arrives(3, "a").arrives(4, "b").goes(1).expect("stop a", "stop b")


def test_those_who_wait_for_a_loading_victim_are_served_before_it_drains(play):
    """A load is never in vain, however long the other one has waited."""
    p = play("ab").arrives(1, "a").expect("start a").arrives(2, "b").at(50).ticks().arrives(3, "a")
    p.at(60).ready("a").expect("grant 1", "grant 3").arrives(4, "a").goes(1).goes(3).expect("stop a")


def test_a_drain_holds_back_only_those_who_come_after(play):
    """An urgent request for the draining model is ahead of the one it drains for, so it is served."""
    p = play({"a": {"priority": 5}, "b": {}}).loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b").wakes(10)
    p.at(20).arrives(3, "a").expect("grant 3")
    assert p.phase("a") == "draining"
    p.at(60).arrives(4, "a").goes(1).goes(3).expect("stop a")


def test_an_overdue_waiter_is_not_overtaken_by_a_swap_that_overlaps(play):
    """Its claim holds back later candidates that could have started in the meantime."""
    groups = [GroupSpec("g", ("a", "b"), exclusive=False), GroupSpec("h", ("c", "d"), exclusive=False)]
    p = play("abcdx", groups).loaded("a").loaded("c").arrives(1, "a").expect("grant 1").arrives(2, "x").wakes(10)
    p.at(11).arrives(3, "d").goes(1).expect("stop a", "stop c")


def test_before_that_the_machine_is_not_kept_idle(play):
    """A swap among others goes on while the first in line waits for a stream to end."""
    groups = [GroupSpec("g", ("a", "b"), exclusive=False), GroupSpec("h", ("c", "d"), exclusive=False)]
    p = play("abcdx", groups).loaded("a").loaded("c").arrives(1, "a").expect("grant 1").arrives(2, "x")
    p.at(1).arrives(3, "d").expect("stop c").exits("c").expect("start d")


def test_a_drain_passed_on_serves_those_between(play):
    """When the first claimant leaves, a draining model serves who comes before the next one, and nobody else."""
    p = play({"a": {"priority": 5}, "b": {}, "c": {}}).loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b")
    p.wakes(10).at(20).arrives(3, "c").at(55).arrives(4, "a").at(75).arrives(5, "a").goes(2).expect("grant 4")
    assert p.phase("a") == "draining"
    p.goes(1).goes(4).expect("stop a").exits("a").expect("start c")
