"""How much a model was used lately, and how much of the service a caller had: amounts that fade with time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from llama_swap.scheduler.events import Terms

USE_HALF_LIFE_SECONDS = 120.0
"""After this long a use of a model counts half: longer than people take between two turns, so recency tells most."""

SHARE_HALF_LIFE_SECONDS = 300.0
"""After this long the service that a caller had counts half."""

DEFAULT_LOAD_SECONDS = 30.0
"""What loading a model is taken to cost until it was seen."""

LOAD_WEIGHT = 0.3
"""How much the latest load counts for the learned load time."""

RARE_USE = 0.1
"""What a model counts that nobody used lately: between two of those the cheaper one to load again leaves first."""


@dataclass(slots=True)
class Fading:
    """An amount that halves again and again; as of a time in seconds."""

    amount: float = 0.0
    at: float = 0.0

    def now(self, now: float, half_life_seconds: float) -> float:
        """What is left of it."""
        left: float = self.amount * 2.0 ** ((self.at - now) / half_life_seconds)
        return left

    def add(self, more: float, now: float, half_life_seconds: float) -> None:
        """Let it fade until now, then add to it."""
        self.amount = self.now(now, half_life_seconds) + more
        self.at = now


class Tab(NamedTuple):
    """A lease that is put on somebody's account; a tuple, because every request makes one."""

    caller: str
    since: float


def eviction_cost(load_seconds: float, use: float) -> float:
    """What evicting a model costs: the time to load it again, as often as that is to be expected."""
    return load_seconds * (RARE_USE + use)


def learned_load(before: float | None, seconds: float) -> float:
    """A load time after one more load."""
    return seconds if before is None else before + LOAD_WEIGHT * (seconds - before)


def penalty_seconds(
    terms: Terms, shares: Mapping[str, Fading], tabs: Mapping[int, Tab], now: float, most_seconds: float
) -> float:
    """By how much a request counts as later, 0 to ``most_seconds``: the part that its caller had above an equal share.

    Callers are those that were served lately, this one included. Fixed when the request arrives, so it starves nobody.
    """
    served = {caller: share.now(now, SHARE_HALF_LIFE_SECONDS) for caller, share in shares.items()}
    for tab in tabs.values():
        served[tab.caller] = served.get(tab.caller, 0.0) + now - tab.since
    active = {caller: seconds for caller, seconds in served.items() if seconds > 1.0 or caller == terms.caller}
    active.setdefault(terms.caller, 0.0)
    total = sum(active.values())
    if len(active) == 1 or not total:
        return 0.0
    equal = 1.0 / len(active)
    surplus = active[terms.caller] / total - equal
    return most_seconds * max(0.0, surplus) / (1.0 - equal)
