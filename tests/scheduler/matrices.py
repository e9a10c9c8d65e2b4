"""Matrices for tests: random ones, and their meaning worked out the slow way."""

from functools import cache
from itertools import product

from hypothesis import strategies as st

from llama_swap.scheduler.policy.dsl import Kind, parse
from llama_swap.scheduler.policy.sets import linked_sets
from llama_swap.scheduler.spec import MatrixSpec, TieBreak


def expansions(matrix):
    """Every alternative of every set, written out: (set, models), in the order of definition."""
    known = {}
    for name in linked_sets(matrix):
        known[name] = list(written_out(parse(matrix.sets[name]), matrix, known))
    return [(name, alternative) for name, alternatives in known.items() for alternative in alternatives]


def written_out(expression, matrix, known):
    """The alternatives of one expression."""
    if expression.kind is Kind.MODEL:
        yield frozenset({matrix.vars.get(expression.name, expression.name)})
    elif expression.kind is Kind.REFERENCE:
        yield from known[expression.name]
    elif expression.kind is Kind.ANY:
        for part in expression.parts:
            yield from written_out(part, matrix, known)
    else:
        for choice in product(*(written_out(part, matrix, known) for part in expression.parts)):
            yield frozenset().union(*choice)


def are_allowed_together(matrix, models):
    """Whether they may run at once."""
    return len(models) < 2 or any(set(models) <= alternative for _, alternative in expansions(matrix))


@st.composite
def matrices(draw, models, most_sets=3):
    """Any matrix of these models; later and earlier sets refer to each other, but never in a circle."""
    names = [f"s{n}" for n in range(draw(st.integers(1, most_sets)))]
    sets, terms = {}, [*models, "x"]
    for name in draw(st.permutations(names)):
        sets[name] = draw(expressions(tuple(terms)))
        terms.append(f"+{name}")
    return MatrixSpec(
        sets={name: sets[name] for name in names},
        vars={"x": draw(st.sampled_from(sorted(models)))},
        evict_costs=draw(st.dictionaries(st.sampled_from(sorted(models)), st.integers(1, 3))),
        tie_break=draw(st.sampled_from(TieBreak)),
    )


@cache
def expressions(terms):
    """Any expression of these names."""
    return st.recursive(
        st.sampled_from(terms),
        lambda inner: st.tuples(st.sampled_from("&&|"), st.lists(inner, min_size=2, max_size=4)).map(
            lambda pair: f"({pair[0].join(pair[1])})"
        ),
        max_leaves=9,
    )
