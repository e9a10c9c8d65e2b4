"""Several sources to one tree: mappings merge, lists join, and two sources that disagree are an error."""

from collections.abc import Sequence
from pathlib import Path

from llama_swap.config.problems import ConfigError, KeyPath, Place, Problem, render_key
from llama_swap.config.tree import Array, Node, Scalar, Table, shown_value
from llama_swap.config.yaml12 import parse_yaml

# Below these keys every name is one whole thing, so two sources may not each hold a part of it.
WHOLES: frozenset[KeyPath] = frozenset(
    {
        ("models",),
        ("groups",),
        ("matrix",),
        ("profiles",),
        ("selectors",),
        ("peers",),
        ("routing", "router", "settings", "groups"),
        ("routing", "router", "settings", "matrix"),
    }
)


def read_sources(sources: Sequence[Path]) -> Table:
    """All sources as one tree; an empty source adds nothing.

    Raises:
        ConfigError: with every problem of every source, then with every disagreement between them.
    """
    problems: list[Problem] = []
    roots: list[Table] = []
    for source in sources:
        try:
            root = parse_yaml(source.read_bytes().decode(), source)
        except ConfigError as error:
            problems += error.problems
        except OSError as error:
            problems.append(Problem(source, 0, "", None, f"cannot be read: {error.strerror}"))
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            problems.append(Problem(source, line, "", None, "is not UTF-8 text"))
        else:
            if isinstance(root, Table):
                roots.append(root)
            elif root is not None:
                rule = "top-level YAML must be a mapping"
                problems.append(Problem(source, root.place.line, "", None, rule, "write `models:` and so on"))
    merged = Table({}, Place(sources[0], 0))
    for root in roots:
        merged = _merge_tables(merged, root, (), problems)
    if problems:
        raise ConfigError(problems)
    return merged


def _merge(first: Node, second: Node, path: KeyPath, problems: list[Problem]) -> Node:
    if isinstance(second, Scalar) and second.value is None:
        return first
    if isinstance(first, Scalar) and first.value is None:
        return second
    match first, second:
        case Table(), Table():
            return _merge_tables(first, second, path, problems)
        case Array(), Array():
            return Array((*first.items, *second.items), first.place)
        case Scalar(), Scalar():
            if type(first.value) is not type(second.value) or first.value != second.value:
                rule = f"conflict: a different value than at {_at(first.place)}"
                problems.append(_problem(second.place, path, rule, value=second.source))
        case _:
            rule = f"conflict: incompatible with the {_kind(first)} at {_at(first.place)}: this is a {_kind(second)}"
            problems.append(_problem(second.place, path, rule))
    return first


def _merge_tables(first: Table, second: Table, path: KeyPath, problems: list[Problem]) -> Table:
    entries, places = dict(first.entries), dict(first.key_places)
    for key, value in second.entries.items():
        if key in entries and path in WHOLES:
            where = _at(places[key])
            rule = f'duplicate {path[-1]} "{key}": already defined at {where}'
            problems.append(_problem(second.key_places[key], (*path, key), rule))
        elif key in entries:
            entries[key] = _merge(entries[key], value, (*path, key), problems)
        else:
            entries[key], places[key] = value, second.key_places[key]
    return Table(entries, second.place if not first.entries else first.place, places)


def _problem(place: Place, path: KeyPath, rule: str, value: str | None = None) -> Problem:
    shown = None if value is None else shown_value(value, path)
    return Problem(place.file, place.line, render_key(path), shown, rule, "keep one of them")


def _at(place: Place) -> str:
    return f"{place.file}:{place.line}"


def _kind(node: Node) -> str:
    return {Table: "mapping", Array: "list"}.get(type(node), "value")
