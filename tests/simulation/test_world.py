"""The modelled world itself: memory is never given out twice, comes back late, and nobody is forgotten."""

import pytest
from simulated.baselines import FirstInFirstOut, LeastRecentlyUsed
from simulated.clients import game, one_request
from simulated.days import DAYS, simulate
from simulated.deeds import Ask
from simulated.machine import GIB, Cards, Machine, Model, OutOfMemory, PageCache
from simulated.world import World

from llama_swap.scheduler.commands import MeasureMemory, StartProcess
from llama_swap.scheduler.events import MemoryMeasured, ProcessExited

MACHINE = Machine((10.0,), reserved=0.0, context=0.0, lag=(2.0, 2.0), disk=1.0, bus=4.0)


class Told:
    """A scheduler that does what it is told and notes what happened."""

    def __init__(self, orders):
        self.orders, self.events = dict(orders), []

    def next_deadline(self):
        """The time of the next order."""
        return min(self.orders, default=None)

    def handle(self, event, *, now):
        """Give the orders whose time has come."""
        self.events.append((now, event))
        return [self.orders.pop(at) for at in sorted(self.orders) if at <= now]


def play(orders, models, until=60.0):
    """Run orders in a world with one client that only waits."""
    scheduler = Told(orders)
    world = World(scheduler, models, MACHINE)
    return world.run([(0.0, iter_of(until))]), scheduler.events


def iter_of(seconds):
    """A client that lets time pass."""
    yield seconds


def test_memory_is_given_out_once():
    """What a card has not, it does not give, and it gives nothing of it."""
    cards = Cards(MACHINE)
    cards.take("a", {0: 6.0})
    with pytest.raises(OutOfMemory):
        cards.take("b", {0: 4.5})
    assert cards.free(0) == pytest.approx(4.0)


def test_a_start_that_does_not_fit_dies_of_it():
    """The second process finds too little and says so."""
    scores, events = play(
        {1.0: StartProcess(1, "a", ""), 20.0: StartProcess(2, "b", "")}, {"a": Model(8.0, 1.0), "b": Model(2.0)}
    )
    exits = [event for _, event in events if isinstance(event, ProcessExited)]
    assert [(e.instance_id, e.out_of_memory) for e in exits] == [(2, True)]
    assert scores.out_of_memory == 1


def test_memory_comes_back_late():
    """After an exit the process holds nothing, but the card is not free for the lag of the machine."""
    world = World(Told({}), {"a": Model(8.0)}, MACHINE)
    world.launch(1, "a", ())
    world.plan(20.0, lambda: world.exit(world.processes[1]))
    for at in (19.5, 20.5, 22.5):
        world.plan(at, world.measure)
    world.run([(0.0, iter_of(30.0))])
    readings = [(e.pools[1].held.get(1), e.pools[1].free_bytes // GIB) for _, e in measured(world.scheduler.events)]
    assert readings == [(None, 10), (8 * GIB, 2), (None, 2), (None, 10)]


def measured(events):
    """The readings among the events."""
    return [(at, event) for at, event in events if isinstance(event, MemoryMeasured)]


def test_a_reading_is_older_than_its_answer():
    """The answer tells when it began, not when it came."""
    _, events = play({5.0: MeasureMemory("")}, {})
    at, event = measured(events)[-1]
    assert event.at == 5.0 < at


def test_the_page_cache_makes_loading_faster():
    """From the disk first, then from memory, and what was read ahead is read already."""
    cache = PageCache(MACHINE)
    assert cache.load_seconds("a", 8.0, 0.0) == 8.0
    assert cache.load_seconds("a", 8.0, 0.0) == 2.0
    cache.read_ahead("b", 0.0)
    assert cache.load_seconds("b", 8.0, 4.0) == 4.0 + 1.0


def test_the_page_cache_forgets_what_was_read_first():
    """It is as large as the memory to spare."""
    cache = PageCache(Machine(spare=10.0, disk=1.0, bus=4.0))
    cache.load_seconds("a", 6.0, 0.0)
    cache.load_seconds("b", 6.0, 0.0)
    assert cache.load_seconds("a", 6.0, 0.0) == 6.0


def test_a_game_takes_what_there_is_and_waits_for_the_rest():
    """It has all its memory once the process that has it is gone and the card is free."""
    scheduler = LeastRecentlyUsed(1)
    world = World(scheduler, {"a": Model(8.0), "b": Model(1.0)}, MACHINE, is_measuring=False)
    asks = [one_request(Ask("x", model, 1.0)) for model in "ab"]
    scores = world.run([(0.0, asks[0]), (20.0, game(0, 9.0, 0.01)), (25.0, asks[1])])
    assert scores.game_waits == [pytest.approx(8.0, abs=0.6)]  # stopped at 25, exit at 26, free at 28
    assert scores.start_count == 2


def test_who_waits_for_ever_is_noticed():
    """A scheduler that forgets somebody does not look good."""
    with pytest.raises(AssertionError, match="for ever"):
        World(Told({}), {"a": Model(1.0)}, MACHINE).run([(0.0, one_request(Ask("x", "a", 1.0)))])


@pytest.mark.parametrize("day", DAYS)
def test_all_schedulers_are_asked_the_same(day):
    """Whoever serves, the same requests come, and each is answered or turned away."""
    totals = set()
    for kind in ("lru", "fifo"):
        scores = simulate(kind, DAYS[day])
        totals.add(len(scores.all_waits()) + scores.refused.total())
    assert len(totals) == 1


def test_the_least_recently_used_model_leaves():
    """Two places: a is used after b, so c takes the place of b."""
    models = dict.fromkeys("abc", Model(1.0))
    world = World(LeastRecentlyUsed(2), models, MACHINE, is_measuring=False)
    order = [(0.0, "b"), (10.0, "a"), (20.0, "c"), (30.0, "a"), (40.0, "b")]
    scores = world.run([(at, one_request(Ask(model, model, 1.0))) for at, model in order])
    assert scores.starts == {"a": 1, "b": 2, "c": 1}


def test_strict_order_swaps_every_time():
    """One model at a time."""
    world = World(FirstInFirstOut(), dict.fromkeys("ab", Model(1.0)), MACHINE, is_measuring=False)
    scores = world.run([(n * 1.0, one_request(Ask("x", "ab"[n % 2], 5.0))) for n in range(6)])
    assert scores.start_count == 6
