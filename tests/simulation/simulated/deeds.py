"""What clients do, and what comes of it.

A client is a generator. What it yields is what it does, and it goes on when that is done:

- a number: so many seconds pass;
- ``Ask``: a request; the value is its ``Answer``, once the last byte is there;
- ``Take``: a foreign program wants memory of a card; the value is how long it took until it had all;
- ``Release``: it ends, and its memory is free;
- an event of the scheduler: somebody tells it something, such as a yield.
"""

import math
from dataclasses import dataclass

from llama_swap.scheduler.commands import RejectReason
from llama_swap.scheduler.events import NO_TERMS, Terms


@dataclass(frozen=True)
class Ask:
    """A request; seconds is for how long it is served, patience how long its client waits for the first byte."""

    kind: str
    model: str
    seconds: float
    terms: Terms = NO_TERMS
    patience: float = math.inf


@dataclass(frozen=True)
class Answer:
    """What came of a request; wait is None where it was never served."""

    wait: float | None
    reason: RejectReason | None = None
    retry_after_seconds: float | None = None


@dataclass(frozen=True)
class Take:
    """A foreign program wants memory of a card, GiB; after a while it makes do with what it got."""

    program: str
    card: int
    size: float
    patience: float = 300.0


@dataclass(frozen=True)
class Release:
    """A foreign program ends."""

    program: str
