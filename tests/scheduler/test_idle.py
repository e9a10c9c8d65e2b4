"""Unloading after the ttl."""


def test_idle_time_counts_from_the_end_of_the_last_lease(play):
    """Overlapping requests: the last one to end counts."""
    p = play("a", ttl_seconds=60).loaded("a").at(10).arrives(1, "a").expect("grant 1").arrives(2, "a").expect("grant 2")
    p.at(20).goes(1).at(100).ticks().at(200).goes(2).wakes(260).expect("stop a").because("idle for 60 s (ttl)")


def test_a_long_request_is_never_cut(play):
    """With a lease there is no idle time, and nothing to wake for."""
    p = play("a", ttl_seconds=1).loaded("a").arrives(1, "a").expect("grant 1")
    p.at(5000).ticks().wakes(None)


def test_zero_is_never(play):
    """A model without ttl asks for no deadline."""
    play("a", ttl_seconds=0).loaded("a").wakes(None)


def test_a_request_at_the_very_moment_wins(play):
    """The model is still there, so it serves; it is not stopped under the new request."""
    play("a", ttl_seconds=60).loaded("a").at(60).arrives(1, "a").expect("grant 1")


def test_idle_time_counts_from_ready_at_the_earliest(play):
    """A request that ended long before a slow load was done does not shorten the stay."""
    p = play("a", ttl_seconds=60).arrives(1, "a").expect("start a").at(1).goes(1).at(100).ready("a").at(150).ticks()
    p.wakes(160).expect("stop a")


def test_use_only_moves_the_deadline_back(play):
    """The deadline may stay where it was; waking then stops nothing that was used since."""
    p = play("a", ttl_seconds=60).loaded("a").at(50).arrives(1, "a").expect("grant 1").goes(1)
    p.wakes(60).wakes(110).expect("stop a")


def test_snapshot_tells_when_it_will_be_unloaded(play):
    """None while in use."""
    p = play("a", ttl_seconds=60).at(5).loaded("a")
    assert p.snapshot().instances[0].unload_at == 65
    assert p.arrives(1, "a").expect("grant 1").snapshot().instances[0].unload_at is None


def test_a_process_that_ignores_the_stop_is_killed_after_its_grace(play):
    """Once; after that only its exit is waited for."""
    p = play("a", ttl_seconds=60, stop_grace_seconds=7).loaded("a").wakes(60).expect("stop a")
    p.wakes(67).expect("kill a").because("did not exit within 7 s").wakes(None).at(80).exits("a").wakes(None)


def test_no_grace_kills_at_once(play):
    """Grace 0 asks and kills in one step."""
    play("a", stop_grace_seconds=0).loaded("a").unloads("a").expect("stop a", "kill a")
