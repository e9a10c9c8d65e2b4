"""The races that users of such services ran into, each as a conversation. The numbers are those of the catalogue."""

from llama_swap.scheduler.spec import GroupSpec


def test_r1_ready_but_evicted_before_its_request_was_served(play):
    """Readiness and the leases of those who waited are one step; nobody gets in between."""
    p = play("ab").arrives(1, "a").expect("start a").arrives(2, "b").at(99).ticks().ready("a").expect("grant 1")
    p.goes(1).expect("stop a")


def test_r1_also_for_a_waiter_that_came_after_the_next_model(play):
    """It joined a load that another one had asked for; the load is not taken from under it."""
    p = play("ab").arrives(1, "a").expect("start a").at(1).arrives(2, "b").at(2).arrives(3, "a").goes(1, served=False)
    p.at(30).ready("a").expect("grant 3").goes(3).expect("stop a")


def test_r2_no_request_into_a_stopping_child(play):
    """From the decision to stop on, newcomers wait for the next process."""
    play("a", ttl_seconds=5).loaded("a").wakes(5).expect("stop a").arrives(1, "a").exits("a").expect("start a")


def test_r3_two_cold_requests_at_once_are_both_served(play):
    """For one model and for two."""
    p = (
        play("ab")
        .arrives(1, "a")
        .expect("start a")
        .arrives(2, "b")
        .arrives(3, "a")
        .ready("a")
        .expect("grant 1", "grant 3")
    )
    p.goes(1).goes(3).expect("stop a").exits("a").expect("start b").ready("b").expect("grant 2")


def test_r4_a_concurrent_cold_start_waits_instead_of_failing(play):
    """No room now means later, never an error."""
    p = play("abc").arrives(1, "a").expect("start a").arrives(2, "b").arrives(3, "c")
    assert [w.blocked_by for w in p.snapshot().queue] == ["a is loading"] * 3


def test_r5_a_loading_victim_is_left_to_load(play):
    """A swap never stops a process that somebody waits for."""
    play("ab").arrives(1, "a").expect("start a").arrives(2, "b").at(100).ticks()


def test_r6_a_busy_victim_is_not_cut(play):
    """Neither at once nor when the other has waited for too long."""
    play("ab").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b").at(10).ticks().at(9999).ticks()


def test_r7_two_models_do_not_evict_each_other_in_vain(play):
    """Each start serves at least one request before it makes room."""
    p = play("ab", limits={"max_wait_seconds": 1}).arrives(1, "a").expect("start a").arrives(2, "b")
    p.at(30).ready("a").expect("grant 1").arrives(3, "a").goes(1).expect("stop a").exits("a").expect("start b")
    p.at(60).ready("b").expect("grant 2").arrives(4, "b").goes(2).expect("stop b").exits("b").expect("start a")


def test_r8_a_request_meets_an_idle_unload(play):
    """Just before: served. Just after: a fresh process. Never wedged."""
    play("a", ttl_seconds=5).loaded("a").at(5).arrives(1, "a").expect("grant 1").ticks()
    p = play("a", ttl_seconds=5).loaded("a").at(5).ticks().expect("stop a").arrives(1, "a").exits("a").expect("start a")
    p.ready("a").expect("grant 1")


def test_r9_a_hit_on_the_victim_blocks_nobody(play):
    """A request for the model being evicted queues for its next run; the swap goes on."""
    p = play("ab").loaded("a").arrives(1, "b").expect("stop a").arrives(2, "a").exits("a").expect("start b")
    p.ready("b").expect("grant 1").goes(1).expect("stop b").exits("b").expect("start a").ready("a").expect("grant 2")


def test_r10_a_model_never_runs_twice(play):
    """However the old run ends: crash, unload or a new configuration."""
    p = play("a").arrives(1, "a").expect("start a").arrives(2, "a").unloads("a")
    p.expect("reject 1 unloaded", "reject 2 unloaded", "stop a").arrives(3, "a").reloads(
        p.changed("a", fingerprint="v2")
    )
    p.exits("a").expect("start a").arrives(4, "a").ready("a").expect("grant 3", "grant 4")


def test_r12_a_client_that_gives_up_does_not_cancel_the_load(play):
    """The retry finds the model further on, not at zero."""
    p = play("a").arrives(1, "a").expect("start a").at(20).goes(1, served=False).at(21).arrives(2, "a")
    p.at(30).ready("a").expect("grant 2")


def test_r13_an_endless_request_blocks_only_what_needs_its_place(play):
    """A model drained for ever by one stream: others run, and an operator can end it."""
    p = play("abz", [GroupSpec("keep", ("z",), persistent=True, exclusive=False)])
    p.loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b").at(10).ticks()
    p.at(1000).arrives(3, "z").expect("start z").ready("z").expect("grant 3")
    assert "a serves 1 request" in p.snapshot().queue[0].blocked_by
    p.unloads("a").expect("stop a").wakes(1010).expect("kill a").exits("a").expect("start b")


def test_r16_shutdown_forgets_no_process(play):
    """Finished means that the exit of every instance was seen."""
    p = play("ab", [GroupSpec("g", ("a", "b"), swap=False)]).loaded("a").arrives(1, "b").expect("start b")
    p.shuts_down().expect("reject 1 shutting_down", "stop a", "stop b").exits("a")
    assert not p.snapshot().is_finished
    p.exits("b")
    assert p.snapshot().is_finished


def test_r17_a_short_ttl_does_not_end_a_load(play):
    """Idle time begins at ready."""
    p = play("a", ttl_seconds=5, start_timeout_seconds=60).arrives(1, "a").expect("start a").at(30).ticks().goes(1)
    p.at(50).ready("a").wakes(55).expect("stop a")


def test_r18_a_model_that_dies_under_load_restarts_for_the_next(play):
    """Out of memory while serving: gone for those in service, there again for the next."""
    p = play("a").loaded("a").arrives(1, "a").expect("grant 1").exits("a", "signal 9").goes(1, served=False)
    p.arrives(2, "a").expect("start a")


def test_r19_looking_is_not_using(play):
    """Snapshots, stories and deadlines keep nothing warm."""
    p = play("a", ttl_seconds=60).loaded("a").at(59)
    assert p.snapshot().instances
    assert p.scheduler.story("a")
    p.wakes(60).expect("stop a")
