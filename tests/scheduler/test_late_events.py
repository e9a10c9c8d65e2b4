"""Events that come late, twice, or about things that are gone: recorded, and nothing else."""

from llama_swap.scheduler.events import ProcessExited, ProcessReady, ReadinessFailed, RequestArrived, RequestGone


def test_ready_after_the_stop_is_ignored(play):
    """A stopping instance never serves."""
    play("a").arrives(1, "a").expect("start a").unloads("a").expect("reject 1 unloaded", "stop a").ready("a").arrives(
        2, "a"
    )


def test_events_of_a_dead_instance_are_ignored(play):
    """Even while the next instance of the model loads."""
    p = play("a").loaded("a").exits("a").arrives(1, "a").expect("start a")
    p.tell(ProcessReady(1)).tell(ProcessExited(1, "again")).tell(ReadinessFailed(1, "late")).ready("a").expect(
        "grant 1"
    )


def test_a_request_may_end_any_number_of_times(play):
    """Finish, error and disconnect may all be told; the first counts."""
    p = play("a", ttl_seconds=60).loaded("a").arrives(1, "a").expect("grant 1").at(1).goes(1).at(5).goes(1).goes(77)
    p.wakes(60).wakes(61).expect("stop a")


def test_a_second_ready_changes_nothing(play):
    """Nor does a probe that failed after one that succeeded."""
    p = (
        play("a", ttl_seconds=60)
        .arrives(1, "a")
        .expect("start a")
        .ready("a")
        .expect("grant 1")
        .goes(1)
        .at(30)
        .ready("a")
    )
    p.never_ready("a", "late").wakes(60).expect("stop a")


def test_an_arrival_told_twice_is_one_request(play):
    """Waiting or served."""
    play("a").arrives(1, "a").expect("start a").arrives(1, "a").ready("a").expect("grant 1").arrives(1, "a")


def test_late_events_are_in_the_recording(play):
    """Ignored is not forgotten."""
    p = play("a").tell(ProcessReady(99))
    assert ProcessReady(99) in [entry.event for entry in p.scheduler.recording().entries]


def test_a_refused_request_may_still_report_its_end(play):
    """The shell reports the end of every request."""
    play("a").tell(RequestArrived(1, "zz")).expect("reject 1 model_unknown").tell(RequestGone(1))
