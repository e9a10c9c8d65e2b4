"""Which running models must leave so that another may run: llama-swap's matrix.

A set allows its alternatives and every part of them. A model may start when all that runs beside it is in one
alternative with it; so for the best alternative that has it, those outside must leave. Best is the one whose
evictions cost least. What is leaving anyway costs nothing. Equal costs are decided by these, in this order:

1. with ``lru``: the one that keeps the most recently used model, then the next most recently used one, and so on;
2. rather beside models that are leaving, because then nobody has to wait for their exit;
3. the set that is defined first (one that others refer to before these), in it the alternative that is written first.

A model in no set runs alone.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from llama_swap.scheduler.policy.alternatives import Alternatives, best_choice, compile_sets
from llama_swap.scheduler.policy.ruling import Neighbours, RuleKind, Ruling
from llama_swap.scheduler.policy.sets import check_matrix, model_of
from llama_swap.scheduler.spec import MatrixSpec, TieBreak

MEMORY_SIZE = 512
"""Answers remembered; the same few questions come with every event while somebody waits."""


@dataclass(frozen=True, slots=True)
class MatrixPolicy:
    """The matrix of one configuration.

    Attributes:
        answers: a memory of pure results; it changes nothing but the time they take.
    """

    sets: tuple[Alternatives, ...]
    costs: dict[str, int]
    tie_break: TieBreak
    answers: dict[tuple[str, Neighbours], Ruling] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, spec: MatrixSpec, models: Collection[str]) -> "MatrixPolicy":
        """Compile the matrix of a configuration.

        Raises:
            ValueError: it has mistakes; the configuration should have been refused.
        """
        errors = check_matrix(spec, models)
        if errors:
            raise ValueError("; ".join(error.message for error in errors))
        costs = {model_of(name, spec): cost for name, cost in spec.evict_costs.items()}
        return cls(compile_sets(spec), costs, spec.tie_break)

    def victims(self, target: str, neighbours: Neighbours) -> tuple[str, ...]:
        """The other models that must have exited before the target may start."""
        return self.ruling(target, neighbours).victims if neighbours.models else ()

    def ruling(self, target: str, neighbours: Neighbours) -> Ruling:
        """The same with the set that decides, its expression and the cost."""
        question = (target, neighbours)
        answer = self.answers.get(question)
        if answer is None:
            if len(self.answers) >= MEMORY_SIZE:
                self.answers.clear()
            answer = self.answers[question] = self._decide(target, neighbours)
        return answer

    def can_coexist(self, models: Collection[str]) -> bool:
        """Whether one alternative of one set has them all."""
        wanted = set(models)
        if len(wanted) < 2:  # noqa: PLR2004 - alone every model may run
            return True
        worth = dict.fromkeys(wanted, 1)
        return any(best_choice(one, worth) == wanted for one in self.sets if wanted <= one.models)

    def _decide(self, target: str, neighbours: Neighbours) -> Ruling:
        worth = dict(self._worth(target, neighbours))
        worth[target] = sum(worth.values()) + 1  # an alternative without it is no answer
        chosen, kept, best = None, frozenset[str](), 0
        for one in self.sets:
            if target in one.models:
                choice = best_choice(one, worth)
                gain = sum(worth[model] for model in choice)
                if gain > best:
                    chosen, kept, best = one, choice, gain
        others = [model for model in neighbours.models if model != target]
        victims = tuple(model for model in others if model not in kept)
        cost = sum(self._cost(model) for model in victims if model in neighbours.staying)
        name, text = (chosen.name, chosen.text) if chosen is not None else ("", "in no set: runs alone")
        return Ruling(RuleKind.MATRIX, victims, name, text, cost)

    def _worth(self, target: str, neighbours: Neighbours) -> Iterator[tuple[str, int]]:
        """What keeping each neighbour is worth: costs decide, the lower digits are for ties between them."""
        digits = len(neighbours.models)
        for model in neighbours.leaving:
            if model != target:
                yield model, 1
        for place, model in enumerate(neighbours.staying, start=len(neighbours.leaving)):
            if model != target:
                recency = 1 << place if self.tie_break == TieBreak.LRU else 0
                yield model, (self._cost(model) << digits) + recency

    def _cost(self, model: str) -> int:
        return self.costs.get(model, 1)
