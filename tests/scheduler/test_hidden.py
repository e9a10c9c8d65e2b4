"""Models whose memory nobody sees to be theirs, as in containers without a name: they keep what they were promised."""

from dataclasses import replace

import pytest
from cards import GIB

from llama_swap.scheduler import Phase


@pytest.fixture
def play_hidden(play_fit):
    """``play_hidden({"a": 18, ...})``: on this machine ``a`` is taken for somebody else."""

    def play(needs, **keys):
        p = play_fit(needs, **keys)
        told = p.machine.measured

        def measured(at):
            event = told(at)
            ids = frozenset(instance for instance in p.machine.held if instance == p.machine.latest.get("a"))
            return replace(event, pools=tuple(_without(pool, ids) for pool in event.pools))

        p.machine.measured = measured
        return p

    return play


def _without(pool, ids):
    held = {instance: size for instance, size in pool.held.items() if instance not in ids}
    foreign = pool.total_bytes - pool.free_bytes - sum(held.values())
    shown = None if pool.listed_bytes is None else pool.listed_bytes + sum(pool.held.values()) - sum(held.values())
    return replace(pool, held=held, hidden=ids, foreign_bytes=foreign, listed_bytes=shown)


def test_it_keeps_what_it_was_promised(play_hidden):
    """A reading that shows nothing of it is no measurement of it, and what it has is not somebody else's."""
    p = play_hidden({"a": 14, "b": 5}).runs("a", "b").measures()
    assert p.claims("a")["GPU-0"] == 14
    assert p.claims("b")["GPU-0"] == 5
    (pool,) = [view for view in p.scheduler.snapshot(now=p.now).pools if view.pool == "GPU-0"]
    assert (pool.foreign_bytes, pool.available_bytes) == (0, 5 * GIB)


def test_it_leaves_for_another(play_hidden):
    """Refusing the other because of what "others use" would be for ever."""
    p = play_hidden({"a": 18, "b": 10}).runs("a").measures().arrives(1, "b").expect("stop a")
    p.exits("a").expect("start b")


def test_its_memory_is_waited_for(play_hidden):
    """As much as it was promised has to come back."""
    p = play_hidden({"a": 18, "b": 10}).runs("a").measures()
    p.machine.slow.add("a")
    p.arrives(1, "b").expect("stop a").exits("a").expect()
    assert p.phase("a") == Phase.RELEASING
    p.machine.lingering.clear()
    p.measures().expect("start b")


def test_it_yields(play_hidden):
    """It is on that card, whatever the driver says."""
    p = play_hidden({"a": 18}).runs("a").measures()
    p.yields().expect("stop a")


def test_what_it_takes_is_no_game(play_hidden):
    """But what others take beside it is."""
    p = play_hidden({"a": 14}, yielding={"free_below_bytes": 8 * GIB}).runs("a").measures().expect()
    p.machine.foreign[0] = 3
    p.measures().expect("stop a")


def test_nobody_leaves_for_more_than_there_is(play_hidden):
    """It holds less than it was promised: all of the promise and what is free are together more than the card has."""
    p = play_hidden({"a": 20, "c": 30}).runs("a")
    p.machine.takes_now("a", 6)
    p.at(9).measures().arrives(1, "c").expect("reject 1 does_not_fit").message("at most 24.0 GiB can be had")
