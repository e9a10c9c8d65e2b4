"""What a person sees."""

from llama_swap.scheduler import Phase, Standing
from llama_swap.scheduler.spec import GroupSpec


def test_every_configured_model_has_a_standing(play):
    """From never started to backing off."""
    p = play("ab", limits={"backoff_after_failures": 2})
    assert p.phase("a") is Standing.STOPPED
    p.arrives(1, "a").expect("start a")
    assert p.phase("a") is Standing.STARTING
    p.ready("a").expect("grant 1")
    assert p.phase("a") is Standing.READY
    p.unloads("a").expect("stop a")
    assert p.phase("a") is Standing.STOPPING
    p.exits("a").arrives(2, "a").expect("start a").exits("a", "exit code 3").expect("reject 2 start_failed")
    view = p.snapshot().models[0]
    assert (view.standing, view.failures, view.last_failure, view.next_try_at) == ("failed", 1, "exit code 3", None)
    p.arrives(3, "a").expect("start a").exits("a").expect("reject 3 start_failed")
    assert (p.snapshot().models[0].standing, p.snapshot().models[0].next_try_at) == ("backoff", 1)


def test_an_instance_tells_since_when_and_why(play):
    """With its leases and times."""
    p = play("a").at(1).arrives(1, "a").expect("start a").at(4).ready("a").expect("grant 1")
    (view,) = p.snapshot().instances
    assert (view.model, view.phase, view.leases, view.since, view.ready_at) == ("a", Phase.READY, 1, 4, 4)
    assert view.because == "its readiness probe succeeded"
    p.at(9).goes(1)
    assert p.snapshot().instances[0].last_used == 9


def test_a_waiter_sees_its_position_and_what_blocks_it(play):
    """In the order of service: those of a model together."""
    p = play("abc").loaded("a").arrives(1, "a").expect("grant 1").arrives(4, "a").expect("grant 4")
    p.at(1).arrives(2, "c").arrives(3, "b").at(3).arrives(5, "c")
    queue = p.snapshot().queue
    assert [(w.request_id, w.position, w.waited_seconds) for w in queue] == [(2, 1, 2), (5, 2, 0), (3, 3, 2)]
    assert queue[0].blocked_by == "a serves 2 requests"


def test_a_waiter_sees_who_comes_first(play):
    """While the swap for another is in progress."""
    p = play("abc").loaded("a").arrives(1, "b").expect("stop a").arrives(2, "c")
    assert [w.blocked_by for w in p.snapshot().queue] == ["a is stopping", "b comes first, a is stopping"]


def test_a_waiter_behind_a_drain_sees_whom_it_is_for(play):
    """And the models that are not concerned show nothing."""
    p = play("abz", [GroupSpec("keep", ("z",), exclusive=False, persistent=True)]).loaded("z").loaded("a", 1001)
    p.arrives(1, "a").expect("grant 1").arrives(2, "b").wakes(10).arrives(3, "a")
    assert p.snapshot().queue[1].blocked_by == "b has waited 10 s for the place of a"
    assert p.phase("z") is Standing.READY
