"""A YAML document as a tree in which every value knows its file, its line and how it was written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_swap.config.problems import KeyPath, Place, Problem, render_key
from llama_swap.config.redact import redact_text

LONGEST_SHOWN = 60
"""Characters of a value that a problem quotes."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value.

    Attributes:
        value: by YAML 1.2's core schema; what macros made of it, once expanded.
        text: the same as text, spelled as its author did (``0.70``).
        plain: written without quotes and not as a block, so that its type follows from its spelling.
        source: as written in the file, whatever macros make of it; never holds the value of an environment variable.
        unknown: some of it stands for a macro or an environment variable that there is not; that is reported, and
            nothing more can be said about the value.
    """

    value: str | int | float | bool | None
    text: str
    place: Place
    plain: bool = False
    source: str = ""
    unknown: bool = False
    anchored: bool = False


@dataclass(frozen=True, slots=True)
class Array:
    """A list."""

    items: tuple["Node", ...]
    place: Place
    anchored: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; keys are the text of what was written.

    Attributes:
        key_places: where each key stands; the entries of a merge key stand where their anchor is.
    """

    entries: Mapping[str, "Node"]
    place: Place
    key_places: Mapping[str, Place] = field(default_factory=dict)
    anchored: bool = False


Node = Scalar | Array | Table


def plain_data(node: Node) -> Any:
    """Dicts and lists with :class:`Scalar` leaves, for the schema."""
    match node:
        case Table():
            return {key: plain_data(value) for key, value in node.entries.items()}
        case Array():
            return [plain_data(item) for item in node.items]
        case _:
            return node


def has_anchor(node: Node) -> bool:
    """Whether the node or anything in it has an anchor, so that other places may refer to it."""
    match node:
        case Table():
            return node.anchored or any(map(has_anchor, node.entries.values()))
        case Array():
            return node.anchored or any(map(has_anchor, node.items))
        case _:
            return node.anchored


def step_into(node: Node | None, step: str | int) -> Node | None:
    """The child under a key or an index, or None."""
    if isinstance(node, Table) and isinstance(step, str):
        return node.entries.get(step)
    if isinstance(node, Array) and isinstance(step, int) and step < len(node.items):
        return node.items[step]
    return None


def node_at(root: Node, path: KeyPath) -> Node | None:
    """The node at a path, or None."""
    node: Node | None = root
    for step in path:
        node = step_into(node, step)
    return node


def place_of(root: Node, path: KeyPath) -> Place:
    """The line of the key that the path ends in, or of the nearest thing above it."""
    place, node = root.place, root
    for step in path:
        child = step_into(node, step)
        if child is None:
            break
        place = node.key_places.get(str(step), child.place) if isinstance(node, Table) else child.place
        node = child
    return place


def without(node: Node, path: KeyPath) -> Node:
    """The tree without what is at a path; the tree itself if nothing is. Later items of a list move up."""
    step, *rest = path
    child = step_into(node, step)
    if child is None:
        return node
    kept = without(child, tuple(rest)) if rest else None
    if isinstance(node, Table):
        entries = {key: kept if key == step else value for key, value in node.entries.items()}
        present = {key: value for key, value in entries.items() if value is not None}
        return Table(present, node.place, node.key_places, node.anchored)
    if isinstance(node, Array):
        items = [kept if index == step else item for index, item in enumerate(node.items)]
        return Array(tuple(item for item in items if item is not None), node.place, node.anchored)
    return node


def problem_at(root: Node, path: KeyPath, rule: str, fix: str = "", *, secret: bool = False) -> Problem:
    """A problem with what is at a path, with its file, line and value as written."""
    place, node = place_of(root, path), node_at(root, path)
    shown = None if secret or not isinstance(node, Scalar) else shown_value(node.source, path)
    return Problem(place.file, place.line, render_key(path), shown, rule, fix)


def shown_value(source: str, path: KeyPath) -> str | None:
    """A value for a message: one short line, quoted; None where it may be a secret."""
    if path[:1] == ("apiKeys",) or path[2:3] in {("env",), ("apiKey",)}:
        return None
    line = " ".join(redact_text(source).split())
    return f'"{line if len(line) <= LONGEST_SHOWN else line[: LONGEST_SHOWN - 3] + "..."}"'
