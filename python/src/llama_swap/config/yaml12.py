"""YAML to a tree: the core schema of YAML 1.2, merge keys, and an error for a key that is there twice.

PyYAML only splits the text into events; its own YAML 1.1 types (``on`` is true, ``1:30`` is 90) are never used.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from llama_swap.config.problems import ConfigError, Place, Problem, render_key
from llama_swap.config.tree import Array, Node, Scalar, Table

# YAML 1.2.2, section 10.3.2 "Tag Resolution" of the core schema.
_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN = re.compile(r"\.(?:nan|NaN|NAN)")

# In a flow collection braces end a plain scalar, so `[${env.KEY}]` is no YAML; llama-swap replaces environment macros
# in the text before it parses. Characters of Unicode's private area stand in for the braces while the text is parsed.
_MACRO_BRACES = re.compile(r"\$\{([A-Za-z0-9_.-]+)\}")
_HIDDEN_BRACES = re.compile("\\$\ue000([A-Za-z0-9_.-]+)\ue001")

LONGEST_NUMBER = 1000
"""Characters of a number; more are text, as Python refuses to read numbers without end."""

_TAG = "tag:yaml.org,2002:"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def resolve_plain(text: str) -> str | int | float | bool | None:
    """The value of a scalar that is written without quotes, by YAML 1.2's core schema."""
    if len(text) > LONGEST_NUMBER:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    return _resolve_number(text)


def _resolve_number(text: str) -> str | int | float:
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return -math.inf if text[0] == "-" else math.inf
    return math.nan if _NAN.fullmatch(text) else text


def parse_yaml(text: str, file: Path) -> Node | None:
    """The tree of one document; None if the text is empty.

    Raises:
        ConfigError: the text is not YAML, or it has two documents, a key twice, or a key that is no scalar.
    """
    hidden = _MACRO_BRACES.sub("$\ue000\\1\ue001", text.removeprefix("\ufeff"))
    composer = _Composer(file, iter(yaml.parse(hidden, Loader=_LOADER)))
    try:
        root = composer.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        rule = "not YAML: " + " ".join(filter(None, (error.context, error.problem)))
        # The parser may notice only past the last line.
        line = min(mark.line + 1, len(text.splitlines())) if mark else 0
        raise ConfigError([*composer.problems, Problem(file, line, "", None, rule)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([Problem(file, 0, "", None, f"not YAML: {error}")]) from None
    except RecursionError:
        raise ConfigError([Problem(file, 0, "", None, "is nested too deeply")]) from None
    if composer.problems:
        raise ConfigError(composer.problems)
    return root


class _Composer:
    """Builds the tree from parser events; goes on after a problem, so that all are found at once."""

    def __init__(self, file: Path, events: Iterator[yaml.Event]) -> None:
        self._file = file
        self._events = events
        self._anchors: dict[str, Node | None] = {}
        self._path: list[str | int] = []
        self.problems: list[Problem] = []

    def document(self) -> Node | None:
        root: Node | None = None
        for count, _ in enumerate(event for event in self._events if isinstance(event, yaml.DocumentStartEvent)):
            event = next(self._events)
            node = self._node(event)
            if count:
                self._problem(event, "one file holds one YAML document", "remove the `---`")
            root = root or node
        return None if isinstance(root, Scalar) and root.value is None else root

    def _node(self, event: yaml.Event) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event)
        assert isinstance(event, yaml.NodeEvent)  # noqa: S101 - what else a parser gives here is its bug
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        node = self._content(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _content(self, event: yaml.NodeEvent) -> Node:
        match event:
            case yaml.ScalarEvent():
                return self._scalar(event)
            case yaml.SequenceStartEvent():
                return self._array(event)
            case _:
                return self._table(event)

    def _aliased(self, event: yaml.AliasEvent) -> Node:
        node = self._anchors.get(event.anchor or "")
        if node is not None:
            return node
        known = event.anchor in self._anchors
        self._problem(event, f"`*{event.anchor}` " + ("refers to what it is part of" if known else "has no anchor"))
        return Scalar(None, "", self._place(event))

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        text = _HIDDEN_BRACES.sub(r"${\1}", event.value)
        plain = not event.style and event.tag is None
        value: str | int | float | bool | None = resolve_plain(text) if plain else text
        if event.tag not in {None, "!"}:
            value = self._tagged(event, str(event.tag), text)
        return Scalar(value, text, self._place(event), plain, text, anchored=event.anchor is not None)

    def _tagged(self, event: yaml.Event, tag: str, text: str) -> str | int | float | bool | None:
        kinds: dict[str, tuple[type, ...]] = {
            "str": (str,),
            "int": (int,),
            "float": (int, float),
            "bool": (bool,),
            "null": (type(None),),
        }
        name = tag.removeprefix(_TAG)
        value = text if name == "str" else resolve_plain(text)
        if type(value) not in kinds.get(name, ()):
            self._problem(event, f"`{text}` cannot be read as `{tag.replace(_TAG, '!!')}`", "remove the tag")
        return float(value) if name == "float" and isinstance(value, int) else value

    def _array(self, event: yaml.SequenceStartEvent) -> Array:
        items: list[Node] = []
        while not isinstance(child := next(self._events), yaml.SequenceEndEvent):
            self._path.append(len(items))
            items.append(self._node(child))
            self._path.pop()
        return Array(tuple(items), self._place(event), event.anchor is not None)

    def _table(self, event: yaml.NodeEvent) -> Table:
        entries: dict[str, Node] = {}
        places: dict[str, Place] = {}
        merged: list[Table] = []
        while not isinstance(key_event := next(self._events), yaml.MappingEndEvent):
            key = self._node(key_event)
            if not isinstance(key, Scalar):
                self._problem(key_event, "a key must be one word or text, not a list or mapping")
            name = key.text if isinstance(key, Scalar) else ""
            self._path.append(name)
            value = self._node(next(self._events))
            if name == "<<" and isinstance(key, Scalar) and key.plain:
                merged += self._merged(value, key_event)
            elif name in entries:
                rule = f"the key is here twice, first on line {places[name].line}"
                self._problem(key_event, rule, "remove one, or merge the two")
            else:
                entries[name], places[name] = value, self._place(key_event)
            self._path.pop()
        for other in merged:
            for name, value in other.entries.items():
                if name not in entries:
                    entries[name], places[name] = value, other.key_places[name]
        return Table(entries, self._place(event), places, event.anchor is not None)

    def _merged(self, value: Node, event: yaml.Event) -> list[Table]:
        parts = list(value.items) if isinstance(value, Array) else [value]
        tables = [part for part in parts if isinstance(part, Table)]
        if len(tables) < len(parts):
            self._problem(event, "`<<` takes a mapping or a list of mappings", "write `<<: *anchor`")
        return tables

    def _place(self, event: yaml.Event) -> Place:
        return Place(self._file, event.start_mark.line + 1 if event.start_mark else 0)

    def _problem(self, event: yaml.Event, rule: str, fix: str = "") -> None:
        place = self._place(event)
        self.problems.append(Problem(place.file, place.line, render_key(tuple(self._path)), None, rule, fix))
