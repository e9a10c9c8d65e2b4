"""Starts, stops and their causes, counted from the decisions of a real scheduler."""

from dataclasses import replace

import pytest

from llama_swap.scheduler.state import Phase


def test_a_load(world, page, metrics):
    """A start counts at once, its duration when it is ready."""
    assert world.arrives(1, "a", at=10) == ["StartProcess"]
    assert page(metrics)['llamaswap_starts_total{model="a"}'] == 1
    assert 'llamaswap_load_seconds_count{model="a"}' not in page(metrics)
    world.ready("a", at=14)
    assert page(metrics)['llamaswap_load_seconds_sum{model="a"}'] == 4
    world.goes(1)
    world.arrives(2, "a", at=20)
    assert page(metrics)['llamaswap_load_seconds_count{model="a"}'] == 1, "a load is counted once"


def test_a_swap(world, page, metrics):
    """An idle model leaves for another: one eviction of the one, one swap for the other, and the time to stop."""
    world.arrives(1, "a")
    world.ready("a")
    world.goes(1, at=1)
    assert world.arrives(2, "b", at=2) == ["StopProcess"]
    seen = page(metrics)
    assert seen['llamaswap_evictions_total{model="a",reason="idle"}'] == 1
    assert seen['llamaswap_stops_total{model="a",reason="evicted"}'] == 1
    assert 'llamaswap_swaps_total{model="b"}' not in seen, "it is not running yet"
    assert world.exits("a", at=2.5) == ["StartProcess"]
    seen = page(metrics)
    assert seen['llamaswap_swaps_total{model="b"}'] == 1
    assert seen['llamaswap_stop_seconds_sum{model="a"}'] == 0.5
    assert 'llamaswap_crashes_total{model="a"}' not in seen


def test_a_later_start_is_not_a_swap_again(world, page, metrics):
    """Room that was made is used up by one start."""
    world.arrives(1, "a")
    world.ready("a")
    world.goes(1)
    world.arrives(2, "b")
    world.exits("a")
    world.ready("b")
    world.goes(2)
    world.exits("b")
    assert world.arrives(3, "b") == ["StartProcess"]
    assert page(metrics)['llamaswap_swaps_total{model="b"}'] == 1
    assert page(metrics)['llamaswap_starts_total{model="b"}'] == 2


def test_a_busy_model_leaves_for_one_that_waited_long(world, page, metrics):
    """An eviction after draining has its own reason."""
    world.arrives(1, "a")
    world.ready("a")
    world.arrives(2, "b", at=1)
    world.waits(at=12)
    assert world.goes(1, at=13) == ["StopProcess"]
    assert page(metrics)['llamaswap_evictions_total{model="a",reason="drained"}'] == 1


def test_a_model_that_nobody_waits_for_any_more(world, page, metrics):
    """It is stopped while it loads when another needs its place: neither a crash nor a failed start."""
    world.arrives(1, "a")
    world.goes(1)
    assert world.arrives(2, "b", at=1) == ["StopProcess"]
    world.exits("a")
    seen = page(metrics)
    assert seen['llamaswap_evictions_total{model="a",reason="unneeded"}'] == 1
    assert 'llamaswap_start_failures_total{model="a"}' not in seen


@pytest.mark.parametrize("how", ["exits", "never_ready"])
def test_a_start_that_fails(world, page, metrics, how):
    """An exit before ready and a probe that can never succeed are one failed start each."""
    world.arrives(1, "a")
    getattr(world, how)("a", at=1)
    if how == "never_ready":
        world.exits("a", at=2)
    seen = page(metrics)
    assert seen['llamaswap_start_failures_total{model="a"}'] == 1
    assert seen['llamaswap_rejections_total{model="a",reason="start_failed"}'] == 1
    assert 'llamaswap_crashes_total{model="a"}' not in seen


def test_a_start_that_takes_too_long(world, page, metrics):
    """The time-out is a failed start too."""
    world.arrives(1, "a")
    world.waits(at=31)
    assert page(metrics)['llamaswap_stops_total{model="a",reason="start_failed"}'] == 1
    assert page(metrics)['llamaswap_start_failures_total{model="a"}'] == 1


def test_a_crash(world, page, metrics):
    """A ready process that ends by itself."""
    world.arrives(1, "a")
    world.ready("a")
    world.exits("a", at=3)
    assert page(metrics)['llamaswap_crashes_total{model="a"}'] == 1
    assert 'llamaswap_stop_seconds_count{model="a"}' not in page(metrics)


def test_a_process_that_must_be_killed(world, page, metrics):
    """Its stop took until it was gone."""
    world.arrives(1, "a")
    world.ready("a")
    world.unload("a")
    assert world.waits(at=5) == ["KillProcess"]
    world.exits("a", at=6)
    seen = page(metrics)
    assert seen['llamaswap_kills_total{model="a"}'] == 1
    assert seen['llamaswap_stop_seconds_sum{model="a"}'] == 6


@pytest.mark.parametrize(
    ("leave", "reason"),
    [
        (lambda world: world.waits(at=100), "idle"),
        (lambda world: world.unload("a"), "unloaded"),
        (lambda world: world.unload(), "unloaded"),
        (lambda world: world.shuts_down(), "shutdown"),
    ],
)
def test_why_a_model_stops(world, page, metrics, leave, reason):
    """Each cause is a word of its own, and none of these is an eviction."""
    world.arrives(1, "a")
    world.ready("a")
    world.goes(1, at=1)
    assert leave(world) == ["StopProcess"]
    seen = page(metrics)
    assert seen[f'llamaswap_stops_total{{model="a",reason="{reason}"}}'] == 1
    assert not [series for series in seen.values if series.startswith("llamaswap_evictions_total")]


def passes(world, metrics, *phases):
    """The latest instance is seen in one phase after the other: (phase, seen at, in it since); None is gone."""
    snapshot = world.scheduler.snapshot(now=world.now)
    for phase, at, since in phases:
        views = () if phase is None else (replace(snapshot.instances[0], phase=phase, since=since),)
        metrics.observe_snapshot(replace(snapshot, at=at, instances=views))


def test_memory_that_comes_back_slowly(world, page, metrics):
    """The stop ends with the exit; what follows until the driver has given the memory back is told apart."""
    world.arrives(1, "a")
    world.ready("a")
    passes(world, metrics, (Phase.STOPPING, 10.0, 10.0), (Phase.RELEASING, 12.1, 12.0), (None, 12.75, None))
    seen = page(metrics)
    assert seen['llamaswap_stop_seconds_sum{model="a"}'] == 2.0
    assert seen['llamaswap_memory_release_seconds_sum{model="a"}'] == 0.75
    assert 'llamaswap_crashes_total{model="a"}' not in seen


def test_a_crash_whose_memory_comes_back_slowly(world, page, metrics):
    """It is one crash, and no stop."""
    world.arrives(1, "a")
    world.ready("a")
    passes(world, metrics, (Phase.RELEASING, 12.0, 12.0), (Phase.RELEASING, 12.5, 12.0), (None, 13.0, None))
    seen = page(metrics)
    assert seen['llamaswap_crashes_total{model="a"}'] == 1
    assert seen['llamaswap_memory_release_seconds_sum{model="a"}'] == 1.0
    assert 'llamaswap_stop_seconds_count{model="a"}' not in seen


def test_one_start_after_out_of_memory_is_a_retry(world, page, metrics):
    """The next start of the model, unless it was ready meanwhile or ran out of memory while it served."""
    metrics.observe_out_of_memory("a", loading=True)
    metrics.observe_out_of_memory("b", loading=False)
    assert world.arrives(1, "a") == ["StartProcess"]
    assert page(metrics)['llamaswap_start_retries_total{model="a"}'] == 1
    world.ready("a")
    world.goes(1)
    world.exits("a")
    assert world.arrives(2, "b") == ["StartProcess"]
    world.exits("b")
    world.arrives(3, "a")
    seen = page(metrics)
    assert seen['llamaswap_start_retries_total{model="a"}'] == 1
    assert 'llamaswap_start_retries_total{model="b"}' not in seen
    assert seen['llamaswap_out_of_memory_total{model="a",while="loading"}'] == 1
    assert seen['llamaswap_out_of_memory_total{model="b",while="serving"}'] == 1
