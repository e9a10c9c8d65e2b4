"""The races that users ran into with memory in play, each as a conversation; the numbers are those of the catalogue."""

import pytest

from llama_swap.scheduler import Standing


def test_r01_ready_but_evicted_before_its_request_was_served(play_fit):
    """R1: readiness and the leases of those who waited are one step, also when an overdue one wants the place."""
    p = play_fit({"a": 16, "b": 12}).arrives(1, "a").expect("start a").arrives(2, "b").at(99).ticks()
    p.ready("a").expect("grant 1").goes(1).expect("stop a")


def test_r02_no_request_into_a_stopping_child(play_fit):
    """R2: nor into one that has exited and whose memory is still on its way back."""
    p = play_fit({"a": 16}, ttl_seconds=5).runs("a").at(5).ticks().expect("stop a").arrives(1, "a")
    p.machine.slow = {"a"}
    p.exits("a").arrives(2, "a")
    p.machine.lingering.clear()
    p.at(6).ticks().expect("start a").ready("a").expect("grant 1", "grant 2")


def test_r03_two_cold_requests_at_once_are_both_served(play_fit):
    """R3: side by side where both fit, one after the other where not; nobody waits for ever."""
    p = play_fit({"a": 16, "b": 12}).arrives(1, "a").expect("start a").arrives(2, "b").ready("a").expect("grant 1")
    p.goes(1).expect("stop a").exits("a").expect("start b").ready("b").expect("grant 2")


def test_r03_two_cold_requests_whose_needs_are_found_out_at_the_same_time(play_fit):
    """R3: whichever answer comes first, and however late the reading is."""
    p = play_fit({"a": 16, "b": 12})
    p.answers = False
    p.at(9).arrives(1, "a").expect("assess a").arrives(2, "b").expect("assess b").assessed("b", 12).expect("measure")
    p.assessed("a", 16).measures().expect("start a")


def test_r04_no_room_now_means_later(play_fit):
    """R4: a concurrent cold start waits instead of failing."""
    p = play_fit({"a": 16, "b": 12}).arrives(1, "a").expect("start a").arrives(2, "b")
    assert [w.blocked_by for w in p.snapshot().queue] == ["a is loading", "a is loading"]


def test_r05_a_loading_victim_is_left_to_load(play_fit):
    """R5: as long as somebody waits for it; else it goes at once."""
    p = play_fit({"a": 16, "b": 12}).arrives(1, "a").expect("start a").arrives(2, "b").at(50).ticks()
    p.goes(1).expect("stop a")


def test_r06_a_busy_victim_is_not_cut(play_fit):
    """R6: neither for room nor for the second try of a model that ran out of memory."""
    p = play_fit({"a": 6, "b": 14}).runs("a").arrives(1, "a").expect("grant 1").arrives(2, "b").expect("start b")
    p.exits("b", out_of_memory=True).at(99).ticks().goes(1).expect("stop a").exits("a").expect("start b")


def test_r07_two_models_do_not_evict_each_other_in_vain(play_fit):
    """R7: each start serves at least one request, and an idle one is left alone for a while."""
    p = play_fit({"a": 16, "b": 12}, fit={"min_residency_seconds": 5.0}, limits={"max_wait_seconds": 10.0})
    p.arrives(1, "a").expect("start a").arrives(2, "b").at(30).ready("a").expect("grant 1").arrives(3, "a").goes(1)
    p.expect("stop a").exits("a").expect("start b").at(60).ready("b").expect("grant 2").goes(2).expect("stop b")


def test_r08_a_request_meets_an_idle_unload(play_fit):
    """R8: it gets a fresh process, whatever the driver says meanwhile."""
    p = play_fit({"a": 16}, ttl_seconds=5).runs("a").at(5).ticks().expect("stop a").arrives(1, "a")
    p.exits("a").expect("start a").ready("a").expect("grant 1")


def test_r09_a_hit_on_the_victim_blocks_nobody(play_fit):
    """R9: a request for the model that is being evicted queues; the swap goes on, and then back."""
    p = play_fit({"a": 16, "b": 12}).runs("a").arrives(1, "b").expect("stop a").arrives(2, "a").exits("a")
    p.expect("start b").ready("b").expect("grant 1").goes(1).expect("stop b").exits("b").expect("start a")


def test_r09_a_hit_while_the_memory_is_measured_takes_nothing_back(play_fit):
    """R9: the reading that an eviction waits for leaves the claim as it is; else it might repeat for ever."""
    p = play_fit({"a": 16, "b": 12}).runs("a")
    p.answers = False
    p.at(9).measures().at(20).arrives(1, "b").expect("measure", "assess b").assessed("b", 12)
    assert p.phase("a") is Standing.DRAINING
    p.arrives(2, "a").measures().expect("stop a")


def test_r09_a_request_rescues_a_model_that_another_one_can_spare(play_fit):
    """The drain is taken back when what it is for can have another, idle one's place."""
    p = play_fit({"a": 12, "b": 12, "c": 12}, limits={"max_wait_seconds": 10.0}).runs("a", "b")
    p.arrives(1, "a").expect("grant 1").arrives(2, "b").expect("grant 2").arrives(3, "c").at(10).ticks()
    draining = [name for name in "ab" if p.phase(name) is Standing.DRAINING]
    assert len(draining) == 1
    other = "ab".replace(draining[0], "")
    p.arrives(4, draining[0]).goes({"a": 1, "b": 2}[other]).expect(f"stop {other}", "grant 4")


def test_r10_a_model_never_runs_twice(play_fit):
    """R10: not while its last run's memory is on its way back either."""
    p = play_fit({"a": 4}).runs("a").arrives(1, "a").expect("grant 1")
    p.machine.slow = {"a"}
    p.exits("a", "signal 9").goes(1, served=False).arrives(2, "a")
    assert p.phase("a") is Standing.RELEASING


def test_r11_memory_is_read_too_early(play_fit):
    """R11: a reading that began before the exit starts nobody, nor one in which the memory is not back."""
    p = play_fit({"a": 16, "b": 12}).runs("a").arrives(1, "b").expect("stop a")
    p.machine.slow = {"a"}
    p.at(1).exits("a").at(1.1).measures()
    p.machine.lingering.clear()
    p.measured(p.machine.measured(0), at=0.9).at(1.2).ticks().expect("start b")


def test_r12_a_client_that_leaves_during_the_load_does_not_end_it(play_fit):
    """R12: the retry finds a warm model."""
    p = play_fit({"a": 16}).arrives(1, "a").expect("start a").goes(1, served=False).at(30).ready("a")
    p.arrives(2, "a").expect("grant 2")


def test_r13_one_endless_request_does_not_hold_a_yield_for_ever(play_fit):
    """R13: the time to drain is a bound there; for a swap requests are sacred."""
    p = play_fit({"a": 16}, yielding={"drain_seconds": 30.0}).runs("a").arrives(1, "a").expect("grant 1").yields()
    p.at(30).ticks().expect("stop a")


def test_r14_a_child_that_ignores_the_stop_is_killed(play_fit):
    """R14: its memory counts until the exit is seen."""
    p = play_fit({"a": 16, "b": 12}, stop_grace_seconds=10.0).runs("a").arrives(1, "b").expect("stop a")
    p.at(10).ticks().expect("kill a").at(60).ticks().exits("a", "signal 9").expect("start b")


def test_r15_no_sleeping_child_has_to_wake(play_fit):
    """R15: what is idle exits, and the next use starts a fresh process; if that dies the next request tries anew."""
    p = play_fit({"a": 16}, ttl_seconds=5).runs("a")
    asleep = p.instance_ids["a"]
    p.at(5).ticks().expect("stop a").exits("a").arrives(1, "a").expect("start a")
    assert p.instance_ids["a"] != asleep
    p.exits("a", "CUDA error: invalid argument").expect("reject 1 start_failed").message("CUDA error: invalid argument")
    p.arrives(2, "a").expect("start a").ready("a").expect("grant 2")


def test_r16_a_shutdown_forgets_no_process(play_fit):
    """R16: but it waits for no driver."""
    p = play_fit({"a": 10, "b": 8}).runs("a", "b").shuts_down().expect("stop a", "stop b")
    p.machine.slow = {"a", "b"}
    p.exits("a")
    assert not p.snapshot().is_finished
    p.exits("b")
    assert p.snapshot().is_finished


@pytest.mark.parametrize("keep_alive", [None, 0.0])
def test_r17_idle_time_does_not_end_a_load(play_fit, keep_alive):
    """R17: neither a short ttl nor a keep-alive of 0 ends what somebody waits for."""
    p = play_fit({"a": 16}, ttl_seconds=1.0, start_timeout_seconds=600.0)
    p.arrives(1, "a", keep_alive_seconds=keep_alive).expect("start a").at(500).ticks().ready("a").expect("grant 1")


def test_r18_a_model_that_grows_while_it_serves(play_fit):
    """R18: what it took counts from then on, so nobody is started into it; if it dies of it the next start knows."""
    p = play_fit({"a": 10, "b": 12}).runs("a").arrives(1, "a").expect("grant 1")
    p.machine.takes_now("a", 14)
    p.at(5).ticks().arrives(2, "b")
    assert p.snapshot().queue[0].blocked_by == "a serves 1 request"
    p.exits("a", "out of memory", out_of_memory=True).expect("start b")


def test_r19_looking_is_not_using(play_fit):
    """R19: readings, snapshots and explanations keep nothing warm."""
    p = play_fit({"a": 16}, ttl_seconds=60).runs("a").wakes(5).wakes(10)
    assert p.explain("a").model == "a"
    p.at(59).measures().at(60).ticks().expect("stop a")
