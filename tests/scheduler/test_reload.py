"""A new configuration: what is unchanged goes on, what changed drains first."""

from llama_swap.scheduler.spec import GroupSpec


def test_an_unchanged_model_keeps_everything(play):
    """Instance, leases and waiters; only its limits are new."""
    p = play("ab", ttl_seconds=60).loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b")
    p.at(1).reloads(p.changed("a", ttl_seconds=5)).at(2).goes(1).expect("stop a").exits("a").expect("start b")


def test_the_new_ttl_counts_at_once(play):
    """Longer, shorter or already over."""
    p = play("a", ttl_seconds=60).loaded("a").at(10)
    p.reloads(p.changed("a", ttl_seconds=100)).wakes(100).expect("stop a")
    p = play("a", ttl_seconds=60).loaded("a").at(10)
    p.reloads(p.changed("a", ttl_seconds=5)).expect("stop a")


def test_an_unchanged_model_goes_on_loading(play):
    """Its waiters are served as if nothing had happened, under the new start timeout."""
    p = play("a", start_timeout_seconds=100).arrives(1, "a").expect("start a")
    p.at(1).reloads(p.changed("a", start_timeout_seconds=50))
    assert p.scheduler.next_deadline() == 50
    p.ready("a").expect("grant 1")


def test_a_changed_idle_model_stops_and_starts_anew_on_request(play):
    """Old stops before new starts."""
    p = play("a").loaded("a")
    p.reloads(p.changed("a", fingerprint="v2")).expect("stop a").because("the configuration of a changed")
    p.arrives(1, "a").exits("a").expect("start a").ready("a").expect("grant 1")


def test_a_changed_busy_model_finishes_its_requests(play):
    """Newcomers wait for the new instance."""
    p = play("a").loaded("a").arrives(1, "a").expect("grant 1")
    p.reloads(p.changed("a", fingerprint="v2"))
    assert p.phase("a") == "draining"
    p.arrives(2, "a").goes(1).expect("stop a").exits("a").expect("start a").ready("a").expect("grant 2")


def test_a_drain_for_a_reload_is_not_undone_by_a_leaving_waiter(play):
    """The old instance never serves again."""
    p = play("a").loaded("a").arrives(1, "a").expect("grant 1")
    p.reloads(p.changed("a", fingerprint="v2"))
    p.arrives(2, "a").goes(2).arrives(3, "a")
    assert p.phase("a") == "draining"


def test_a_reload_taken_back_keeps_the_instance(play):
    """It is what the configuration asks for again."""
    p = play("a").loaded("a").arrives(1, "a").expect("grant 1")
    p.reloads(p.changed("a", fingerprint="v2")).arrives(2, "a")
    p.reloads(p.changed("a", fingerprint="v1")).expect("grant 2")


def test_a_changed_model_that_loads_is_loaded_again(play):
    """Its waiters wait for the new instance; stopping the old one is no failure."""
    p = play("a", limits={"backoff_after_failures": 1}).arrives(1, "a").expect("start a")
    p.reloads(p.changed("a", fingerprint="v2")).expect("stop a").exits("a").expect("start a").ready("a").expect(
        "grant 1"
    )


def test_a_removed_model_finishes_and_refuses(play):
    """Requests in service end normally, waiting ones learn that the model is gone."""
    p = play("ab").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b")
    p.reloads(p.without("b")).expect("reject 2 model_unknown").reloads(p.without("a")).arrives(3, "a").expect(
        "reject 3 model_unknown"
    )
    p.goes(1).expect("stop a").exits("a")


def test_new_groups_count_for_what_starts_next(play):
    """What runs together stays; the next start follows the new rules."""
    p = play("abc", [GroupSpec("g", ("a", "b"), swap=False)]).loaded("a").loaded("b").reloads(play.spec("abc"))
    p.arrives(1, "a").expect("grant 1").goes(1).arrives(2, "c").expect("stop a", "stop b")


def test_new_groups_can_free_the_way(play):
    """A waiter that has nothing in its way any more starts at once."""
    p = play("ab").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b")
    p.reloads(play.spec("ab", [GroupSpec("g", ("a", "b"), swap=False)])).expect("start b")


def test_a_repaired_command_is_tried_at_once(play):
    """Failures of the old command do not count against the new one."""
    p = play("a", limits={"backoff_after_failures": 1}).arrives(1, "a").expect("start a")
    p.exits("a").expect("reject 1 start_failed").arrives(2, "a").expect("reject 2 backing_off")
    p.reloads(p.changed("a", fingerprint="v2")).arrives(3, "a").expect("start a")


def test_a_reload_without_change_keeps_the_backoff(play):
    """SIGHUP alone repairs nothing."""
    p = play("a", limits={"backoff_after_failures": 1}).arrives(1, "a").expect("start a")
    p.exits("a").expect("reject 1 start_failed").reloads(p.spec).arrives(2, "a").expect("reject 2 backing_off")


def test_a_crash_of_the_old_instance_says_nothing_about_the_new_command(play):
    """It never served anybody, but it is not what would be started now."""
    p = play("a", limits={"backoff_after_failures": 1}).arrives(1, "a").expect("start a").ready("a").expect("grant 1")
    p.reloads(p.changed("a", fingerprint="v2")).exits("a").arrives(2, "a").expect("start a")
