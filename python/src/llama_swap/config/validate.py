"""A tree against the schema: every breach becomes a problem in our own words, and the rest is still checked."""

from collections.abc import Iterable
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from llama_swap.config.leaves import RULE
from llama_swap.config.names import did_you_mean
from llama_swap.config.problems import ConfigError, KeyPath, Problem
from llama_swap.config.schema import ConfigFile
from llama_swap.config.schema_model import ModelSection
from llama_swap.config.section import INSTEAD, Section
from llama_swap.config.tree import Node, Scalar, node_at, plain_data, problem_at, without

_RULES = {
    "missing": "is required",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}


@dataclass(frozen=True, slots=True)
class Validated:
    """What of a tree is right, and what is not.

    Attributes:
        root: the tree without what breaks the schema.
        removed: the paths of that, in the order in which it was taken out.
    """

    file: ConfigFile
    root: Node
    problems: tuple[Problem, ...]
    removed: tuple[KeyPath, ...]


def validate(root: Node) -> Validated:
    """Check everything, going on without what breaks the schema.

    A value that stands for a missing macro or variable is left out without a problem, since that is reported already.

    Raises:
        ConfigError: nothing is left to go on with.
    """
    problems: list[Problem] = []
    removed: list[KeyPath] = []
    while True:
        try:
            file = ConfigFile.model_validate(plain_data(root))
            return Validated(file, root, tuple(problems), tuple(removed))
        except ValidationError as error:
            breaches = [(tuple(detail["loc"]), detail) for detail in error.errors(include_url=False)]
        problems += [_problem(root, path, detail) for path, detail in breaches if not _is_unknown(root, path)]
        # The last first: removing an item moves the later ones.
        for path in dict.fromkeys(_unusable(root, path) for path, _ in reversed(breaches)):
            if not path:
                raise ConfigError(problems)
            root = without(root, path)
            removed.append(path)


def _unusable(root: Node, path: KeyPath) -> KeyPath:
    """What cannot be used for a breach at a path: the item of a list as a whole; for a missing key what lacks it."""
    item = next((length for length, step in enumerate(path, start=1) if isinstance(step, int)), len(path))
    path = path[:item]
    while path and node_at(root, path) is None:
        path = path[:-1]
    return path


def _is_unknown(root: Node, path: KeyPath) -> bool:
    node = node_at(root, path)
    return isinstance(node, Scalar) and node.unknown


def _problem(root: Node, path: KeyPath, detail: ErrorDetails) -> Problem:
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "extra_forbidden":
        rule, fix = _unknown_key(path)
        return problem_at(root, path, rule, fix, secret=True)
    if kind == RULE:
        return problem_at(root, path, context["rule"], context["fix"])
    return problem_at(root, path, _RULES.get(kind, "is not valid here").format(**context))


def _unknown_key(path: KeyPath) -> tuple[str, str]:
    section = section_at(path[:-1])
    key = str(path[-1])
    here = "" if section is None else section.__name__
    rule = f"unknown key `{key}`"
    if instead := INSTEAD.get(here, {}).get(key.casefold()):
        return rule, f"did you mean `{instead}`?"
    if section is ConfigFile and key in _keys(ModelSection):
        return rule, f"`{key}` belongs to a model: models.ID.{key}"
    if section is ModelSection and key in _keys(ConfigFile):
        return rule, f"`{key}` belongs to the top level"
    known = [] if section is None else _keys(section)
    return rule, did_you_mean(key, known) or "known here: " + ", ".join(sorted(known))


def _keys(section: type[Section]) -> list[str]:
    return [str(field.alias) for field in section.model_fields.values()]


def section_at(path: Iterable[str | int]) -> type[Section] | None:
    """The section of the schema that describes the mapping at a path, or None."""
    kind: Any = ConfigFile
    for step in path:
        kind = _inner(kind, step)
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _inner(kind: Any, step: str | int) -> Any:
    found: Any = None
    if isinstance(kind, type) and issubclass(kind, Section):
        found = next((field.annotation for field in kind.model_fields.values() if field.alias == step), None)
    elif get_origin(kind) is dict:
        found = get_args(kind)[1]
    elif get_origin(kind) is tuple:
        found = get_args(kind)[0]
    # `X | None` and `Annotated[X, ...]` are about X.
    return get_args(found)[0] if get_origin(found) in {Annotated, UnionType} else found
