"""Bounds on waiting: the concurrency limit, the length of the queue, the queue timeout."""


def test_the_concurrency_limit_counts_served_requests(play):
    """One more than the limit is refused at once, with a hint when to come back."""
    p = play("a", concurrency_limit=2).loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "a").expect("grant 2")
    p.arrives(3, "a").expect("reject 3 concurrency_limit").message("Too many requests", "model a", "2")
    assert p.commands[0].retry_after_seconds == 1
    p.goes(1).arrives(4, "a").expect("grant 4")


def test_the_concurrency_limit_counts_waiting_requests(play):
    """A waiter that leaves makes room again."""
    p = play("a", concurrency_limit=2).arrives(1, "a").expect("start a").arrives(2, "a")
    p.arrives(3, "a").expect("reject 3 concurrency_limit").goes(2).arrives(4, "a").ready("a").expect(
        "grant 1", "grant 4"
    )


def test_the_concurrency_limit_is_each_models_own(play):
    """A full model does not concern another."""
    p = play({"a": {"concurrency_limit": 1}, "b": {}}).arrives(1, "a").expect("start a").arrives(2, "b").arrives(3, "b")
    p.arrives(4, "a").expect("reject 4 concurrency_limit")


def test_a_full_queue_refuses_with_position_and_limit(play):
    """The bound is over all models together; the first in line tells when it may get better."""
    p = play("abc", limits={"queue_limit": 2}).loaded("a").arrives(1, "a").expect("grant 1")
    p.arrives(2, "b").arrives(3, "c").at(4).arrives(4, "b").expect("reject 4 queue_full")
    p.message("model b", "position 3", "limit is 2")
    assert p.commands[0].retry_after_seconds == 6
    p.arrives(5, "a").expect("grant 5")
    p.goes(2).arrives(6, "b")


def test_the_queue_timeout_ends_a_wait(play):
    """The scheduler asks to be woken for it, and refuses only those who waited that long."""
    p = play("ab", limits={"queue_timeout_seconds": 5}).loaded("a").arrives(1, "a").expect("grant 1")
    p.at(1).arrives(2, "b").at(3).arrives(3, "b").wakes(6).expect("reject 2 queue_timeout")
    p.message("model b", "5 seconds", "position 1 of 2").wakes(8).expect("reject 3 queue_timeout")
    assert p.phase("a") == "ready"


def test_the_queue_timeout_during_a_load_keeps_the_load(play):
    """The client has to come back; the model is there then."""
    p = play("a", limits={"queue_timeout_seconds": 5}, start_timeout_seconds=60).arrives(1, "a").expect("start a")
    p.wakes(5).expect("reject 1 queue_timeout").at(7).ready("a").arrives(2, "a").expect("grant 2")


def test_an_unknown_model_is_refused(play):
    """The configuration may have changed between the lookup and the arrival."""
    play("a").arrives(1, "zz").expect("reject 1 model_unknown").message("model zz")
