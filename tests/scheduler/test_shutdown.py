"""The end of the service."""


def test_everybody_who_waits_is_told_and_everything_stops(play):
    """Loading, ready and busy instances alike."""
    p = play("ab").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b").at(1)
    p.shuts_down().expect("reject 2 shutting_down", "stop a")
    assert not p.snapshot().is_finished
    p.goes(1).exits("a")
    assert p.snapshot().is_finished


def test_later_requests_are_refused(play):
    """For every model, known or not."""
    p = play("a").loaded("a").shuts_down().expect("stop a").arrives(1, "a").expect("reject 1 shutting_down")
    p.message("shutting down", "model a").arrives(2, "zz").expect("reject 2 shutting_down")


def test_a_loading_model_stops_too(play):
    """Its waiters are told about the shutdown, not about a failed start."""
    p = play("a").arrives(1, "a").expect("start a").shuts_down().expect("reject 1 shutting_down", "stop a").ready("a")
    p.exits("a")
    assert p.snapshot().is_finished


def test_shutdown_twice_is_shutdown(play):
    """A second signal adds nothing; the grace period still ends in a kill."""
    p = play("a", stop_grace_seconds=3).loaded("a").at(1).shuts_down().expect("stop a").at(2).shuts_down()
    p.wakes(4).expect("kill a")


def test_nothing_runs(play):
    """Shutdown is complete at once."""
    p = play("a").shuts_down()
    assert p.snapshot().is_finished
