"""Selectors: virtual models that stand for one of several targets (llama-swap v250, selectors).

Pure: what is loaded and how busy comes in as data, the choice goes out.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Warmth(StrEnum):
    """How soon a target could serve."""

    READY = "ready"
    STARTING = "starting"
    COLD = "cold"


@dataclass(frozen=True, slots=True)
class TargetLoad:
    """A target right now.

    Attributes:
        reserved: requests in service or waiting for it.
    """

    warmth: Warmth
    reserved: int


def choose_warm(targets: Sequence[str], loads: Mapping[str, TargetLoad]) -> str:
    """The first ready target, else the first that starts, else the first."""
    for warmth in (Warmth.READY, Warmth.STARTING):
        for target in targets:
            if loads[target].warmth is warmth:
                return target
    return targets[0]


def choose_spillover(targets: Sequence[str], loads: Mapping[str, TargetLoad], *, limit: int, turn: int) -> str:
    """Fill the loaded targets up to ``limit`` requests each, least busy first, before waking the next cold one.

    Args:
        targets: in the order in which they are woken.
        loads: of every target.
        limit: requests a target may have before the next one is woken.
        turn: counts the choices, so that equally busy targets take turns.
    """
    active = [target for target in targets if loads[target].warmth is not Warmth.COLD or loads[target].reserved]
    cold = [target for target in targets if target not in active]
    free = [target for target in active if loads[target].reserved < limit]
    if not free and cold:
        return cold[0]
    candidates = free or active
    least = min(loads[target].reserved for target in candidates)
    tied = [target for target in candidates if loads[target].reserved == least]
    return tied[turn % len(tied)]


class Turns:
    """Counts the choices of each selector."""

    def __init__(self) -> None:
        self._counters: dict[str, itertools.count[int]] = {}

    def next(self, selector: str) -> int:
        """The number of this choice, from 0."""
        return next(self._counters.setdefault(selector, itertools.count()))
