"""Starts that fail, crashes, and backing off."""

import pytest


def test_every_waiter_is_told_why_the_start_failed(play):
    """Model, exit code and the last lines of output."""
    p = play("a").arrives(1, "a").expect("start a").arrives(2, "a")
    p.exits("a", "exit code 7", ("loading", "error: no such file")).expect(
        "reject 1 start_failed", "reject 2 start_failed"
    )
    for command in p.commands:
        assert "model a failed to start: exit code 7" in command.message
        assert command.message.endswith("loading\nerror: no such file")


def test_the_next_request_tries_again_at_once(play):
    """A single failure costs nobody else anything."""
    p = play("a").arrives(1, "a").expect("start a").exits("a").expect("reject 1 start_failed")
    assert p.phase("a") == "failed"
    p.arrives(2, "a").expect("start a")


def test_waiters_of_other_models_go_on(play):
    """A failed start frees the place for the next in line."""
    (play("ab").arrives(1, "a").expect("start a").arrives(2, "b").exits("a").expect("reject 1 start_failed", "start b"))


def test_failures_in_a_row_back_off_ever_longer(play):
    """In the meantime requests are refused with the reason and the time of the next try."""
    limits = {"backoff_after_failures": 2, "backoff_first_seconds": 4, "backoff_max_seconds": 10}
    p = play("a", limits=limits)
    p.arrives(1, "a").expect("start a").exits("a").expect("reject 1 start_failed")
    p.arrives(2, "a").expect("start a").exits("a", "exit code 7").expect("reject 2 start_failed")
    p.at(1).arrives(3, "a").expect("reject 3 backing_off").message("model a", "2 times", "exit code 7", "3.0 seconds")
    assert p.commands[0].retry_after_seconds == 3
    assert p.phase("a") == "backoff"
    p.wakes(4)
    assert p.phase("a") == "failed"
    for request_id, pause in ((4, 8), (5, 10), (6, 10)):
        p.arrives(request_id, "a").expect("start a").exits("a").expect(f"reject {request_id} start_failed")
        p.wakes(p.now + pause)


def test_a_served_request_ends_the_row(play):
    """Becoming ready is not enough: a model that crashes on its first request backs off as well."""
    p = play("a", limits={"backoff_after_failures": 2})
    p.arrives(1, "a").expect("start a").exits("a").expect("reject 1 start_failed")
    p.arrives(2, "a").expect("start a").ready("a").expect("grant 2").goes(2, served=True).exits("a")
    p.arrives(3, "a").expect("start a").exits("a").expect("reject 3 start_failed").arrives(4, "a").expect("start a")


def test_a_crash_before_anything_was_served_counts(play):
    """Ready for a moment, never useful."""
    p = play("a", limits={"backoff_after_failures": 1}).arrives(1, "a").expect("start a").ready("a").expect("grant 1")
    p.exits("a", "signal 11").goes(1, served=False).arrives(2, "a").expect("reject 2 backing_off").message("signal 11")


def test_a_request_that_ended_unanswered_proves_nothing(play):
    """Its client left, or the upstream broke the connection."""
    p = play("a", limits={"backoff_after_failures": 1}).arrives(1, "a").expect("start a").ready("a").expect("grant 1")
    p.goes(1, served=False).exits("a").arrives(2, "a").expect("reject 2 backing_off")


def test_a_crash_after_service_is_no_failure(play):
    """The next request restarts it at once; the requests it served end by themselves."""
    p = play("a", limits={"backoff_after_failures": 1}).loaded("a").arrives(1, "a").expect("grant 1").exits("a")
    assert p.phase("a") == "stopped"
    p.goes(1, served=False).arrives(2, "a").expect("start a")


def test_those_who_queued_for_a_crashed_model_go_on(play):
    """A model that dies while it drains has freed its place early."""
    p = play("ab").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b").wakes(10).arrives(3, "a")
    p.exits("a").expect("start b").ready("b").expect("grant 2").goes(2).expect("stop b").exits("b").expect("start a")


def test_a_crash_into_backoff_refuses_those_who_queue(play):
    """Nobody waits for a try that is not due."""
    p = play("ab", limits={"backoff_after_failures": 1}).arrives(1, "a").expect("start a").ready("a").expect("grant 1")
    p.arrives(2, "b").wakes(10).arrives(3, "a").exits("a").expect("reject 3 backing_off", "start b")


def test_the_start_timeout_stops_and_tells(play):
    """Waiters need not wait until the process is gone; a later request does."""
    p = play("a", start_timeout_seconds=15, stop_grace_seconds=3).arrives(1, "a").expect("start a")
    p.wakes(15).expect("reject 1 start_failed", "stop a")
    assert "model a failed to start: health check timed out after 15s" in p.commands[0].message
    p.arrives(2, "a").wakes(18).expect("kill a").at(19).exits("a", "signal 9").expect("start a")


def test_a_start_timeout_counts_once(play):
    """The exit that follows is the consequence, not a second failure."""
    p = play("a", start_timeout_seconds=15, limits={"backoff_after_failures": 2}).arrives(1, "a").expect("start a")
    p.wakes(15).expect("reject 1 start_failed", "stop a").exits("a").arrives(2, "a").expect("start a")


def test_no_start_timeout_waits_for_ever(play):
    """0 is no limit."""
    play("a", start_timeout_seconds=0).arrives(1, "a").expect("start a").wakes(None)


def test_a_start_that_can_never_become_ready_is_stopped(play):
    """A foreign listener on the port: its answer must not count as the model's."""
    p = play("a").arrives(1, "a").expect("start a").never_ready("a", "port 5800 belongs to another process")
    p.expect("reject 1 start_failed", "stop a").exits("a").arrives(2, "a").expect("start a")


@pytest.mark.parametrize("failures", [3, 1200])
def test_the_longest_pause_holds_for_ever(play, failures):
    """Doubling a thousand times does not overflow."""
    p = play("a", limits={"backoff_after_failures": 1, "backoff_first_seconds": 1, "backoff_max_seconds": 2})
    for request_id in range(failures):
        p.arrives(request_id, "a").expect("start a").exits("a").expect(f"reject {request_id} start_failed")
        p.at(p.scheduler.next_deadline()).ticks()
    assert p.snapshot().models[0].failures == failures


def test_by_default_a_third_quick_try_still_starts(play):
    """Somebody who tries again at once after each mistake in the configuration is not told to wait too soon."""
    p = play("a")
    for request_id in (1, 2, 3):
        p.arrives(request_id, "a").expect("start a").exits("a").expect(f"reject {request_id} start_failed")
    p.arrives(4, "a").expect("reject 4 backing_off")


def test_zero_failures_never_back_off(play):
    """backoff_after_failures 0 is llama-swap's behaviour."""
    p = play("a", limits={"backoff_after_failures": 0})
    for request_id in range(9):
        p.arrives(request_id, "a").expect("start a").exits("a").expect(f"reject {request_id} start_failed")


def test_out_of_memory_where_nobody_does_sums(play):
    """The words have no gaps where nothing is known about memory."""
    p = play("a").arrives(1, "a").expect("start a")
    p.exits("a", "exit status 1", ("CUDA error: out of memory",), out_of_memory=True).expect("reject 1 out_of_memory")
    p.message("while it loaded: exit status 1; its last output:\nCUDA error: out of memory")
