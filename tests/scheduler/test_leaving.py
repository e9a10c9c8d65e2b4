"""Clients that leave: before, during and after the load they asked for."""

from llama_swap.scheduler.commands import StopProcess
from llama_swap.scheduler.spec import GroupSpec


def test_a_waiter_that_leaves_causes_no_swap(play):
    """A request that left the queue never starts its model."""
    play("ab").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b").goes(2, served=False).goes(1)


def test_a_load_goes_on_without_its_client(play):
    """It is nearly done and the client comes back; the idle time counts from ready."""
    p = play("a", ttl_seconds=60).arrives(1, "a").expect("start a").at(5).goes(1, served=False)
    p.at(30).ready("a").wakes(90).expect("stop a").because("idle for 60 s (ttl)")


def test_a_retry_joins_the_load_of_a_client_that_left(play):
    """No second start."""
    play("a").arrives(1, "a").expect("start a").goes(1, served=False).arrives(2, "a").ready("a").expect("grant 2")


def test_a_load_that_nobody_waits_for_gives_way(play):
    """Somebody else wants the room and nobody this model any more."""
    p = play("ab").arrives(1, "a").expect("start a").arrives(2, "b").goes(1, served=False).expect("stop a")
    p.because("b needs the place of a; nobody waits for a").exits("a").expect("start b")


def test_one_of_several_leaving_disturbs_nobody(play):
    """The others get their leases."""
    play("a").arrives(1, "a").expect("start a").arrives(2, "a").goes(1).ready("a").expect("grant 2")


def test_a_drain_is_undone_when_its_waiter_leaves(play):
    """The queued newcomers are served at once by the model that stays."""
    p = play("ab").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b").wakes(10).arrives(3, "a")
    p.goes(2, served=False).expect("grant 3")
    assert p.phase("a") == "ready"


def test_an_idle_victim_is_rescued_too(play):
    """A drain of two models is undone for both."""
    p = play("abc", [GroupSpec("g", ("a", "b"), swap=False, exclusive=False)]).loaded("a").loaded("b")
    p.arrives(1, "b").expect("grant 1").arrives(2, "c").wakes(10).arrives(3, "a").goes(2).expect("grant 3")
    assert (p.phase("a"), p.phase("b")) == ("ready", "ready")


def test_a_swap_that_nobody_wants_any_more_starts_nothing(play):
    """The victim is gone already; the room stays free."""
    play("ab").loaded("a").arrives(1, "b").expect("stop a").goes(1).exits("a")


def test_the_victim_comes_back_when_only_it_is_wanted(play):
    """A request that queued behind a swap is served even if the swap's target is not wanted any more."""
    p = play("ab").loaded("a").arrives(1, "b").expect("stop a").arrives(2, "a").goes(1).exits("a").expect("start a")
    p.ready("a").expect("grant 2")


def looks_first(p):
    """Whether the latest stop wants memory to be measured before."""
    (stop,) = [command for command in p.commands if isinstance(command, StopProcess)]
    return stop.look_first


def test_what_was_used_since_the_last_reading_is_looked_at_before_it_goes(play_fit):
    """It may have grown with its last request, and has its most then."""
    p = play_fit({"a": 10}).runs("a").at(1).arrives(1, "a").expect("grant 1").at(2).goes(1)
    assert looks_first(p.unloads("a").expect("stop a"))
    p.exits("a").runs("a").at(20).measures()
    assert not looks_first(p.at(21).unloads("a").expect("stop a"))


def test_what_is_cut_is_looked_at_before_it_goes(play_fit):
    """It is in use at this moment."""
    p = play_fit({"a": 10}).runs("a").arrives(1, "a").expect("grant 1").at(20).measures()
    assert looks_first(p.unloads("a").expect("stop a"))


def test_nobody_looks_where_nothing_is_measured(play):
    """There is nothing to learn."""
    p = play("a").loaded("a").at(1).arrives(1, "a").expect("grant 1").at(2).goes(1)
    assert not looks_first(p.unloads("a").expect("stop a"))


def test_nobody_looks_at_the_end_of_the_service(play_fit):
    """It shall not take longer for that."""
    p = play_fit({"a": 10}).runs("a").at(1).arrives(1, "a").expect("grant 1").at(2).goes(1)
    assert not looks_first(p.shuts_down().expect("stop a"))
