"""The question of who may run beside whom, and the form of its answer."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class RuleKind(StrEnum):
    """What decides: one of llama-swap's two ways, or memory."""

    GROUP = "group"
    MATRIX = "matrix"
    FIT = "fit"


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The models that have an instance.

    Attributes:
        staying: those that nothing has told to stop, the least recently used first.
        leaving: those that will have exited soon, whatever is decided.
    """

    staying: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """All of them."""
        return self.leaving + self.staying

    def with_newcomer(self, newcomer: str, *, without: Collection[str]) -> "Neighbours":
        """The same after some have left and another has come."""
        staying = (*(model for model in self.staying if model not in without), newcomer)
        return Neighbours(staying, tuple(model for model in self.leaving if model not in without))


@dataclass(frozen=True, slots=True)
class Ruling:
    """Who must leave for a model, and by which rule.

    Attributes:
        victims: the other models that must have exited before it may start.
        name: the group or the set that decides; "" where the model is in no set and so runs alone.
        text: the settings of the group, or the expression of the set.
        cost: of stopping the victims that are not leaving anyway; None where costs mean nothing.
    """

    kind: RuleKind
    victims: tuple[str, ...]
    name: str
    text: str
    cost: float | None = None


class Policy(Protocol):
    """A rule about who may run beside whom; pure, so the same question has the same answer."""

    def victims(self, target: str, neighbours: Neighbours) -> tuple[str, ...]:
        """The other models that must have exited before the target may start."""

    def ruling(self, target: str, neighbours: Neighbours) -> Ruling:
        """The same with the rule behind it, for people."""

    def can_coexist(self, models: Collection[str]) -> bool:
        """Whether all of these can run at once, in whatever order they start."""
