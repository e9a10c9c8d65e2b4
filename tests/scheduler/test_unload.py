"""Unloading on request."""

from llama_swap.scheduler.spec import GroupSpec


def test_unload_stops_at_once_even_in_service(play):
    """Whoever asks for it means it; the requests end by themselves."""
    p = (
        play("a")
        .loaded("a")
        .arrives(1, "a")
        .expect("grant 1")
        .unloads("a")
        .expect("stop a")
        .because("unload of a requested")
    )
    p.goes(1, served=False).exits("a")


def test_unload_of_all_stops_all(play):
    """In one go, whatever they do."""
    p = (
        play("ab", [GroupSpec("g", ("a", "b"), swap=False)])
        .loaded("a")
        .loaded("b")
        .unloads()
        .expect("stop a", "stop b")
    )
    p.unloads().exits("a").exits("b").unloads()


def test_unload_while_loading_refuses_the_waiters(play):
    """And is no failed start."""
    p = play("a", limits={"backoff_after_failures": 1}).arrives(1, "a").expect("start a")
    p.unloads("a").expect("reject 1 unloaded", "stop a")
    assert "model a unloaded while loading" in p.commands[0].message
    p.exits("a", "signal 15").arrives(2, "a").expect("start a")


def test_unload_of_one_refuses_those_who_queue_for_it(play):
    """They asked for what somebody just took away."""
    p = play("ab").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b")
    p.unloads("b").expect("reject 2 unloaded").message("model b unloaded", "queued")


def test_unload_of_all_lets_the_queue_go_on(play):
    """It empties the memory; who waits for another model gets it sooner."""
    p = play("ab").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b")
    p.unloads().expect("stop a").exits("a").expect("start b")


def test_a_request_during_stopping_gets_a_fresh_process(play):
    """It waits for the exit, then starts."""
    p = play("a").loaded("a").unloads("a").expect("stop a").arrives(1, "a").exits("a").expect("start a")
    p.ready("a").expect("grant 1")


def test_unload_of_a_draining_model(play):
    """The one it drains for comes sooner; those who queued for it are refused."""
    p = play("ab").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b").wakes(10).arrives(3, "a")
    p.unloads("a").expect("stop a", "reject 3 unloaded").exits("a").expect("start b")


def test_unload_of_a_model_that_does_not_run(play):
    """Nothing to do, known or not."""
    play("a").unloads("a").unloads("zz").unloads()
