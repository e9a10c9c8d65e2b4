"""The days: which machine, which models, who comes when."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from llama_swap.scheduler import Scheduler
from llama_swap.scheduler.events import Terms
from llama_swap.scheduler.spec import FitSpec, Limits, ModelSpec, SchedulerSpec, YieldSpec
from simulated.baselines import FirstInFirstOut, LeastRecentlyUsed
from simulated.clients import HOUR, agent, at_random, batch, chat, embeddings, game, home
from simulated.machine import GIB, Machine, Model
from simulated.world import World


@dataclass(frozen=True)
class Day:
    """A day.

    Attributes:
        clients: seed -> (when it begins, generator) of each client.
        longest_request: for how long a request is served at most.
    """

    machine: Machine
    models: dict[str, Model]
    clients: Callable
    yielding: YieldSpec = field(default_factory=YieldSpec)
    longest_request: float = 20.0

    @property
    def places(self):
        """The most models of which any choice fits: what somebody writes who limits them by number."""
        sizes = sorted((m.need + self.machine.context for m in self.models.values()), reverse=True)
        room = sum(card - self.machine.reserved for card in self.machine.cards)
        return max(1, sum(sum(sizes[: n + 1]) <= room for n in range(len(sizes))))


def traffic(seed, begin=8, end=14):
    """Agents on one model, chat on a second, embeddings on a third, and a voice assistant on a fourth."""
    yield from ((at, agent(rng, "coder")) for at, rng in at_random(f"{seed}a", 1500, begin, end))
    yield from ((at, chat(rng, "chat")) for at, rng in at_random(f"{seed}c", 1200, begin, end))
    yield from ((at, embeddings(rng, "embed")) for at, rng in at_random(f"{seed}e", 900, begin, end))
    yield from ((at, home(rng, "home")) for at, rng in at_random(f"{seed}h", 300, begin, end))


def crowd(seed):
    """An afternoon without rest: agents, conversations, and a batch job, each with an API key of its own."""
    yield from ((at, agent(rng, "coder", terms=Terms("alice"))) for at, rng in at_random(f"{seed}a", 600, 13, 14.5))
    yield from ((at, chat(rng, "chat", terms=Terms("bob"))) for at, rng in at_random(f"{seed}c", 900, 13, 14.5))
    yield from ((at, home(rng, "home", terms=Terms("house"))) for at, rng in at_random(f"{seed}h", 300, 13, 14.5))
    for worker in range(3):
        yield 13.25 * HOUR, batch(random.Random(f"{seed}b{worker}"), "batch", documents=120, terms=Terms("batch"))


def greedy(seed):
    """One API key keeps two big models busy at once; another one now and then needs a third."""
    for n, model in enumerate(("coder", "batch")):
        for worker in range(2):
            rng = random.Random(f"{seed}g{n}{worker}")
            yield 13 * HOUR, batch(rng, model, documents=120, terms=Terms("greedy"), kind=model)
    yield from (
        (at, home(rng, "other", terms=Terms("modest"), kind="modest")) for at, rng in at_random(f"{seed}m", 120, 13, 14)
    )


def evening(seed):
    """The traffic goes on while somebody plays; no hook tells of it."""
    yield from traffic(seed, 17, 22)
    yield 18.5 * HOUR, game(0, 16.0, 1.5)


def evening_with_a_hook(seed):
    """The same, and whatever starts the game asks for the card first."""
    yield from traffic(seed, 17, 22)
    yield 18.5 * HOUR, game(0, 16.0, 1.5, asks=True)


def zoo(seed):
    """Ten models, most of the talk with a few of them."""
    for at, rng in at_random(f"{seed}z", 180, 8, 11):
        (model,) = rng.choices(list(ZOO), [1 / rank for rank in range(1, len(ZOO) + 1)])
        yield at, chat(rng, model)


SET = {"coder": Model(17.0, 3.0), "chat": Model(9.0, 2.0), "embed": Model(0.6, 0.4), "home": Model(2.5, 0.7)}
SMALLER = SET | {"coder": Model(11.0, 2.0), "chat": Model(6.5, 1.0)}
WRONG = {
    name: replace(m, error=error) for (name, m), error in zip(SMALLER.items(), (-0.2, 0.1, None, -0.3), strict=True)
}
ZOO = {f"m{n}": Model(size, 1.0) for n, size in enumerate((5, 8, 3, 6, 12, 2, 9, 4, 7, 5))}
BATCH = {"batch": Model(12.0, 2.0)}

DAYS = {
    "everything fits (24 + 16 GiB)": Day(Machine((24.0, 16.0)), SET, traffic),
    "a little too much (24 GiB)": Day(Machine((24.0,)), SMALLER, traffic),
    "one big model at a time (24 GiB)": Day(Machine((24.0,)), SET, traffic),
    "wrong figures (24 GiB)": Day(Machine((24.0,)), WRONG, traffic),
    "an afternoon without rest (24 GiB)": Day(Machine((24.0,)), SMALLER | BATCH, crowd),
    "an afternoon without rest, slow disk (24 GiB)": Day(
        Machine((24.0,), disk=0.5, spare=16.0), SMALLER | BATCH, crowd
    ),
    "a greedy key (24 GiB)": Day(
        Machine((24.0,)), {"coder": Model(11.0, 2.0), "batch": Model(12.0, 2.0), "other": Model(10.0, 3.0)}, greedy
    ),
    "a split model (2 x 16 GiB)": Day(Machine((16.0, 16.0)), SMALLER | {"coder": Model(17.0, 3.0)}, traffic),
    "ten models (24 GiB)": Day(Machine((24.0,)), ZOO, zoo),
    "ten models, slow disk (24 GiB)": Day(Machine((24.0,), disk=0.5, spare=16.0), ZOO, zoo),
    "a game, seen by itself (24 GiB)": Day(Machine((24.0,)), SMALLER, evening, YieldSpec(free_below_bytes=2 * GIB)),
    "a game that asks first (24 GiB)": Day(Machine((24.0,)), SMALLER, evening_with_a_hook),
}


def spec_of(day, *, fit=None, limits=None):
    """The configuration of a day."""
    models = {
        name: ModelSpec(name, "v1", m.ttl_seconds, 600.0, 30.0, priority=m.priority, pin=m.pin)
        for name, m in day.models.items()
    }
    return SchedulerSpec(models, (), limits or Limits(), fit=fit, yielding=day.yielding)


def simulate(kind, day, *, seed=1, limits=None, fit=None):
    """Run a day: ``fit`` and ``group`` are the real scheduler, ``lru`` and ``fifo`` the baselines."""
    is_ours = kind in ("fit", "group")
    if is_ours:
        rules = spec_of(day, fit=(fit or FitSpec()) if kind == "fit" else None, limits=limits)
        scheduler = Scheduler(rules)
    else:
        scheduler = LeastRecentlyUsed(day.places) if kind == "lru" else FirstInFirstOut()
    world = World(scheduler, day.models, day.machine, seed=seed, is_measuring=is_ours)
    return world.run(day.clients(seed))
