"""The definitions of a matrix as a whole: names that stand for models, references between sets, and every mistake.

A mistake is data: a configuration may have many, and whoever reads it wants all of them with their places at once.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from llama_swap.scheduler.policy.dsl import DslError, Expression, Kind, parse, quoted
from llama_swap.scheduler.spec import MatrixSpec

SHORT_NAME_LENGTH = 32


class Part(StrEnum):
    """The part of a matrix that a mistake is in; also the key of the configuration."""

    SETS = "sets"
    VARS = "vars"
    EVICT_COSTS = "evict_costs"


@dataclass(frozen=True, slots=True)
class MatrixError:
    """A mistake in the definition of a matrix.

    Attributes:
        name: the set, short name or model that the mistake is about; "" for a part as a whole.
        message: as llama-swap says it, without its prefix ``matrix: ``.
        position: in the text of a set, in characters from 0; None where the text as such is fine.
    """

    part: Part
    name: str
    message: str
    position: int | None = None


def check_matrix(spec: MatrixSpec, models: Collection[str]) -> tuple[MatrixError, ...]:
    """All mistakes in a matrix for these models; none: it can be used."""
    errors = [*_check_vars(spec, models), *_check_costs(spec, models)]
    if not spec.sets:
        errors.insert(0, MatrixError(Part.SETS, "", "matrix must define at least one set"))
    expressions: dict[str, Expression] = {}
    for name, text in spec.sets.items():
        try:
            expressions[name] = parse(text)
        except DslError as error:
            errors.append(MatrixError(Part.SETS, name, f"set {quoted(name)}: {error.message}", error.position))
        else:
            errors += _check_names(name, expressions[name], spec, models)
    circle = next((name for name, closes_circle in _walk(expressions) if closes_circle), None)
    if circle is not None:
        message = f"circular reference detected involving set {quoted(circle)}"
        errors.append(MatrixError(Part.SETS, circle, message))
    return tuple(errors)


def linked_sets(spec: MatrixSpec) -> dict[str, Expression]:
    """The sets of a matrix without mistakes, those that others refer to before these, else as they are defined.

    Short names are replaced by the models they stand for.
    """
    expressions = {name: _spelled_out(parse(text), spec) for name, text in spec.sets.items()}
    return {name: expressions[name] for name, _ in _walk(expressions)}


def model_of(name: str, spec: MatrixSpec) -> str:
    """The model that a name in an expression or in the costs stands for."""
    return spec.vars.get(name, name)


def _spelled_out(expression: Expression, spec: MatrixSpec) -> Expression:
    if expression.kind is Kind.MODEL:
        return replace(expression, name=model_of(expression.name, spec))
    return replace(expression, parts=tuple(_spelled_out(part, spec) for part in expression.parts))


def _check_vars(spec: MatrixSpec, models: Collection[str]) -> Iterator[MatrixError]:
    for name, model in spec.vars.items():
        is_short = 0 < len(name) <= SHORT_NAME_LENGTH
        if not is_short or not all(c.isascii() and (c.isalnum() or c in "-.") for c in name):
            rule = f"must contain only alphanumeric, '-' or '.' characters and be 1-{SHORT_NAME_LENGTH} characters long"
            yield MatrixError(Part.VARS, name, f"var key {quoted(name)} {rule}")
        elif model not in models:
            yield MatrixError(Part.VARS, name, f"var key {quoted(name)} references unknown model {quoted(model)}")


def _check_costs(spec: MatrixSpec, models: Collection[str]) -> Iterator[MatrixError]:
    for name, cost in spec.evict_costs.items():
        if cost < 1:
            message = f"evict_cost for {quoted(name)} must be a positive integer, got {cost}"
            yield MatrixError(Part.EVICT_COSTS, name, message)
        if name not in spec.vars and name not in models:
            yield MatrixError(Part.EVICT_COSTS, name, f"evict_costs: unknown var or model {quoted(name)}")


def _check_names(name: str, expression: Expression, spec: MatrixSpec, models: Collection[str]) -> Iterator[MatrixError]:
    for leaf in leaves(expression):
        if leaf.kind is Kind.REFERENCE and leaf.name not in spec.sets:
            message = f"set {quoted(name)} references undefined set {quoted(leaf.name)}"
            yield MatrixError(Part.SETS, name, message, leaf.position)
        elif leaf.kind is Kind.MODEL and leaf.name not in spec.vars and leaf.name not in models:
            message = f"set {quoted(name)}: unknown var or model {quoted(leaf.name)}"
            yield MatrixError(Part.SETS, name, message, leaf.position)


def leaves(expression: Expression) -> Iterator[Expression]:
    """The names in an expression, from left to right."""
    if not expression.parts:
        yield expression
    for part in expression.parts:
        yield from leaves(part)


def _walk(expressions: Mapping[str, Expression]) -> Iterator[tuple[str, bool]]:
    """Each set once, after all that it refers to; with True a set that refers to itself, perhaps through others."""
    done: set[str] = set()
    for first in expressions:
        path = {} if first in done else {first: _references(expressions[first], expressions)}
        while path:
            name = next(reversed(path))
            reference = next(path[name], None)
            if reference is None:
                del path[name]
                done.add(name)
                yield name, False
            elif reference in path:
                yield reference, True
            elif reference not in done:
                path[reference] = _references(expressions[reference], expressions)


def _references(expression: Expression, known: Collection[str]) -> Iterator[str]:
    return (leaf.name for leaf in leaves(expression) if leaf.kind is Kind.REFERENCE and leaf.name in known)
