"""The people and programs of a day, as generators (see :mod:`simulated.world`); each draws from a source of its own.

So the same day asks the same of every scheduler, however long it lets them wait.
"""

import random

from llama_swap.scheduler.events import NO_TERMS, YieldEnded, YieldRequested
from simulated.deeds import Ask, Release, Take

HOUR = 3600.0


def at_random(seed, every, begin, end):
    """Moments between two hours, one every so many seconds on average; each with a source of random numbers."""
    rng = random.Random(seed)
    at = begin * HOUR
    while (at := at + rng.expovariate(1 / every)) < end * HOUR:
        yield at, random.Random(rng.random())


def one_request(ask):
    """A client that asks once."""
    yield ask


def agent(rng, model, *, steps=(15, 40), terms=NO_TERMS, kind="agents"):
    """A session of a coding agent: a burst of calls, with the time its tools take in between."""
    for _ in range(rng.randint(*steps)):
        yield Ask(kind, model, rng.uniform(3.0, 20.0), terms)
        yield min(60.0, rng.expovariate(1 / 4.0))


def chat(rng, model, *, terms=NO_TERMS, kind="chat"):
    """A conversation: a person reads and types between the turns."""
    for _ in range(rng.randint(3, 8)):
        yield Ask(kind, model, rng.uniform(5.0, 20.0), terms)
        yield rng.uniform(15.0, 90.0)


def embeddings(rng, model, *, terms=NO_TERMS, kind="embeddings"):
    """A few documents, one after another."""
    for _ in range(rng.randint(10, 30)):
        yield Ask(kind, model, rng.uniform(0.1, 0.4), terms)


def home(rng, model, *, terms=NO_TERMS, kind="home"):
    """Somebody says something to the house."""
    yield Ask(kind, model, rng.uniform(0.8, 2.5), terms)


def batch(rng, model, *, documents=150, terms=NO_TERMS, kind="batch"):
    """A job that works through a pile; it does not mind when, but it never rests."""
    for _ in range(documents):
        yield Ask(kind, model, rng.uniform(4.0, 12.0), terms)


def game(card, size, hours, *, program="game", asks=False):
    """Somebody plays, and the game takes its memory when it starts; perhaps a hook asks for the card first."""
    if asks:
        yield YieldRequested("gamemode", (f"GPU-{card}",), because="a game")
    yield Take(program, card, size)
    yield hours * HOUR
    yield Release(program)
    if asks:
        yield YieldEnded("gamemode")
