"""What a story tells, what a recording replays, and that both stay bounded."""

import pytest

from llama_swap.scheduler import InvalidTransition, Phase, Scheduler, replay
from llama_swap.scheduler.events import ProcessReady, RequestArrived, RequestGone
from llama_swap.scheduler.story import SEGMENT_LENGTH, STORY_LENGTH


def test_a_story_holds_what_concerns_the_model(play):
    """Its own requests, and decisions about it that another model's request caused."""
    p = play("ab").loaded("a").at(5).arrives(1, "b").expect("stop a")
    last = p.scheduler.story("a")[-1]
    assert (last.at, last.event) == (5, RequestArrived(1, "b"))
    assert last.commands[0].because == "b needs the place of a; a is idle"
    assert [entry.number for entry in p.scheduler.story("a")] == [1, 2, 4]


def test_a_story_tells_of_a_drain(play):
    """It needs no command, yet it is a decision."""
    p = play("ab").loaded("a").arrives(1, "a").expect("grant 1").arrives(2, "b").wakes(10)
    (move,) = p.scheduler.story("a")[-1].moves
    assert (move.model, move.phase, move.because) == ("a", Phase.DRAINING, "b has waited 10 s for the place of a")


def test_the_routine_of_a_ready_model_is_left_out(play):
    """A busy day does not push the last swap out of the story."""
    p = play("a").loaded("a")
    before = p.scheduler.story("a")
    for request_id in range(STORY_LENGTH * 2):
        p.arrives(request_id, "a").expect(f"grant {request_id}").goes(request_id)
    assert p.scheduler.story("a") == before


def test_a_request_that_waits_and_leaves_is_no_routine(play):
    """Both are told, although neither leads to a decision; the end of a lease is told where one is taken on it."""
    p = play("ab").arrives(1, "a").expect("start a").arrives(2, "a").goes(2)
    told = [entry.event for entry in p.scheduler.story("a")]
    assert told == [RequestArrived(1, "a"), RequestArrived(2, "a"), RequestGone(2, served=True)]
    p.ready("a").expect("grant 1").arrives(3, "b").goes(1).expect("stop a")
    assert p.scheduler.story("a")[-1].event == RequestGone(1, served=True)


def test_a_story_is_bounded(play):
    """The oldest entries go."""
    p = play("a")
    for request_id in range(STORY_LENGTH):
        p.arrives(request_id, "a").expect("start a").exits("a").expect(f"reject {request_id} start_failed")
        p.at(p.now + 100).ticks()
    assert len(p.scheduler.story("a")) == STORY_LENGTH
    assert p.scheduler.story("a")[-1].number > STORY_LENGTH


def test_names_that_nobody_configured_leave_no_trace(play):
    """A client cannot fill the memory with stories; a removed model's story goes."""
    p = play("ab").arrives(1, "zz").expect("reject 1 model_unknown").loaded("a")
    p.reloads(p.without("b"))
    assert p.scheduler.story("zz") == []
    assert p.scheduler.story("a")
    p.reloads(p.without("a")).expect("stop a")
    assert p.scheduler.story("a") == []


def test_a_recording_is_bounded_and_replays_from_its_middle(play):
    """It begins with the state that its first event met."""
    p = play("ab", ttl_seconds=7)
    for request_id in range(SEGMENT_LENGTH):
        p.at(request_id).arrives(request_id, "ab"[request_id % 2])
        p.said = []
        for model in list(p.instance_ids):
            p.tell(ProcessReady(p.instance_ids[model]))
            p.said = []
        p.tell(RequestGone(request_id, served=True))
        p.said = []
        if p.phase("a") == "stopping":
            p.exits("a")
            p.said = []
    recording = p.scheduler.recording()
    assert SEGMENT_LENGTH <= len(recording.entries) <= 2 * SEGMENT_LENGTH
    assert recording.entries[0].number > 1
    assert replay(recording) == [entry.commands for entry in recording.entries]
    assert replay(recording) == replay(recording), "a replay leaves the recording as it is"


def test_a_defect_carries_its_recording(play):
    """An impossible step is a bug report that can be replayed."""
    scheduler = Scheduler(play.spec("a"))
    scheduler.handle(RequestArrived(1, "a"), now=0)
    instance = scheduler._state.instances["a"]
    instance.phase = Phase.GONE
    instance.doom = "a defect made up by this test"
    with pytest.raises(InvalidTransition, match="a cannot go from gone to stopping") as caught:
        scheduler.handle(RequestArrived(2, "a"), now=1)
    assert caught.value.recording.entries[-1].event == RequestArrived(2, "a")
