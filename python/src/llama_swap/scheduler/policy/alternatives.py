"""Choosing among the alternatives of a set without writing them all down.

``(a|b)&(c|d)&...`` has more alternatives than can be listed, but only few models matter at a time: those that run and
the one that wants to. Reduced to these, most alternatives are equal. An expression is evaluated from its names
upwards to its *choices*, bit masks over the models that matter, in the order in which they are written. Three things
keep their number small:

- a choice that can never be better than another is dropped. What a model is worth may be counted as gained for good
  where the whole set names it nowhere else; elsewhere another part of the set may bring it as well;
- ties keep the choice that is written first, so what is left is in the order of definition;
- there are never more than ``CHOICES_LIMIT``: beyond, those worth least go. What is chosen is then still an
  alternative of the set, if perhaps not the cheapest. It takes dozens of running models that contradict each other
  and are named several times each to get there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, product

from llama_swap.scheduler.policy.dsl import Expression, Kind
from llama_swap.scheduler.policy.sets import leaves, linked_sets
from llama_swap.scheduler.spec import MatrixSpec

CHOICES_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One set, ready to be asked.

    Attributes:
        text: its expression as configured.
        steps: the expressions of the sets it refers to, each after those that it needs itself, and at last its own.
        mentions: how often each model is named when all references are written out.
        models: those that are named.
        vars: short name -> model.
    """

    name: str
    text: str
    steps: Mapping[str, Expression]
    mentions: Mapping[str, int]
    models: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Part:
    """What an expression amounts to: its choices, and how often it names each model that matters (by its bit)."""

    choices: tuple[int, ...]
    mentions: Counter[int]


@dataclass(frozen=True, slots=True)
class _Question:
    """What the models that matter are worth, by their bits; and how often the set in question names them."""

    worth: Mapping[int, int]
    mentions: Mapping[int, int]

    def value(self, choice: int) -> int:
        """What all models of a choice are worth together."""
        total = 0
        while choice:
            bit = choice & -choice
            total += self.worth[bit]
            choice ^= bit
        return total

    def own(self, part: Counter[int]) -> int:
        """The models that nothing but this part of the set can bring."""
        return sum(bit for bit, count in part.items() if count == self.mentions[bit])


def compile_sets(spec: MatrixSpec) -> tuple[Alternatives, ...]:
    """All sets of a matrix without mistakes, those that others refer to first, else as they are defined."""
    expressions = linked_sets(spec)
    mentions: dict[str, Counter[str]] = {}
    needs: dict[str, dict[str, None]] = {}
    for name, expression in expressions.items():
        mentions[name], needs[name] = Counter(), {}
        for leaf in leaves(expression):
            if leaf.kind is Kind.REFERENCE:
                mentions[name].update(mentions[leaf.name])
                needs[name] |= needs[leaf.name]
            else:
                mentions[name][leaf.name] += 1
        needs[name][name] = None
    steps = {name: {step: expressions[step] for step in needs[name]} for name in expressions}
    return tuple(
        Alternatives(name, spec.sets[name], steps[name], mentions[name], frozenset(mentions[name]))
        for name in expressions
    )


def best_choice(alternatives: Alternatives, worth: Mapping[str, int]) -> frozenset[str]:
    """Of the models that are worth something those in the alternative in which they are worth most together.

    Args:
        alternatives: the set.
        worth: what it is worth to have a model, above 0 each; the others do not matter.
    """
    bits = {model: 1 << n for n, model in enumerate(m for m in worth if m in alternatives.models)}
    question = _Question(
        {bit: worth[model] for model, bit in bits.items()},
        {bit: alternatives.mentions[model] for model, bit in bits.items()},
    )
    parts: dict[str, _Part] = {}
    for name, expression in alternatives.steps.items():
        parts[name] = _evaluate(expression, parts, bits, question)
    best = max(parts[alternatives.name].choices, key=question.value)
    return frozenset(model for model, bit in bits.items() if bit & best)


def _evaluate(expression: Expression, sets: Mapping[str, _Part], bits: Mapping[str, int], question: _Question) -> _Part:
    if expression.kind is Kind.REFERENCE:
        return sets[expression.name]
    if expression.kind is Kind.MODEL:
        bit = bits.get(expression.name, 0)
        return _Part((bit,), Counter({bit: 1} if bit else {}))
    parts = [_evaluate(part, sets, bits, question) for part in expression.parts]
    combine = _any_of if expression.kind is Kind.ANY else _all_of
    total = parts[0]
    for part in parts[1:]:
        mentions = total.mentions + part.mentions
        total = _Part(_pruned(combine(total.choices, part.choices), question.own(mentions), question), mentions)
    return total


def _any_of(left: Sequence[int], right: Sequence[int]) -> Iterable[int]:
    return (*left, *right)


def _all_of(left: Sequence[int], right: Sequence[int]) -> Iterable[int]:
    return (one | other for one, other in product(left, right))


@dataclass(frozen=True, slots=True)
class _Kept:
    """A choice that is not beaten so far."""

    choice: int
    own_value: int
    shared: int


def _pruned(choices: Iterable[int], own: int, question: _Question) -> tuple[int, ...]:
    """The choices that may turn out best, in their order."""
    distinct = tuple(dict.fromkeys(choices))
    if len(distinct) == 1:
        return distinct
    kept: list[_Kept] = []
    for choice in distinct:
        newcomer = _Kept(choice, question.value(choice & own), choice & ~own)
        if not any(_lead(one, newcomer, question) >= 0 for one in kept):
            kept = _with_newcomer(kept, newcomer, question)
        if len(kept) >= 2 * CHOICES_LIMIT:
            kept = _most_valuable(kept, question)
    return tuple(one.choice for one in _most_valuable(kept, question))


def _most_valuable(kept: list[_Kept], question: _Question) -> list[_Kept]:
    """As many as the limit allows, in their order; of equal ones the first."""
    if len(kept) <= CHOICES_LIMIT:
        return kept
    best = sorted(kept, key=lambda one: -question.value(one.choice))[:CHOICES_LIMIT]
    chosen = {one.choice for one in best}
    return [one for one in kept if one.choice in chosen]


def _lead(one: _Kept, other: _Kept, question: _Question) -> int:
    """By how much a choice is better than another at least, whatever the rest of the set brings; else below 0."""
    lead = one.own_value - other.own_value
    missing = other.shared & ~one.shared
    if lead <= 0 and missing:
        return -1  # the frequent case; what is missing is worth something
    return lead - question.value(missing)


def _with_newcomer(kept: Sequence[_Kept], newcomer: _Kept, question: _Question) -> list[_Kept]:
    """Add a choice and drop those it beats.

    A newcomer with all models of an earlier choice takes its place: where they are worth the same in the end, they
    are the same choice. One that just draws level comes later in the text and beats nobody.
    """
    parts_of_it = [one.choice & newcomer.choice == one.choice for one in kept]
    place = parts_of_it.index(True) if True in parts_of_it else len(kept)
    stays = [not part and _lead(newcomer, one, question) <= 0 for one, part in zip(kept, parts_of_it, strict=True)]
    return [*compress(kept[:place], stays[:place]), newcomer, *compress(kept[place:], stays[place:])]
