"""``${name}`` and ``${env.NAME}`` to what they stand for: in any order, with their types, with cycles named.

A model's own ``${PORT}`` stays until its port is known, ``${PID}`` until the process runs, and environment macros in
commands until they are split into arguments, so that a value can hold quotes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from llama_swap.config.names import nearest_name
from llama_swap.config.problems import KeyPath, Problem, render_key
from llama_swap.config.tree import Array, Node, Scalar, Table, shown_value
from llama_swap.config.yaml12 import resolve_plain

REFERENCE = re.compile(r"\$\{([A-Za-z0-9_-]+|env\.[^}\s]*)\}")
"""A macro. ``${a.b}`` and ``${a:-b}`` are none and stay as they are."""

RESERVED = frozenset({"PORT", "PID", "MODEL_ID"})
LONGEST_NAME = 63
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORBIDDEN_IN_ENV = re.compile(r"[\r\n\0]")


@dataclass(frozen=True, slots=True)
class Macro:
    """One declared macro and where."""

    value: Scalar
    path: KeyPath


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be used at one place.

    Attributes:
        kept: names that are replaced later and stay as they are.
        keep_env: so do environment macros (they must still exist).
    """

    macros: Mapping[str, Macro]
    kept: frozenset[str] = frozenset()
    keep_env: bool = False


@dataclass(slots=True)
class Expander:
    """Expands nodes and collects what went wrong.

    Attributes:
        allow_missing_env: an unset variable gives a placeholder and a warning.
        env_names: the variables that were referred to.
    """

    env: Mapping[str, str]
    allow_missing_env: bool = False
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    env_names: set[str] = field(default_factory=set)

    def expand(self, node: Node, scope: Scope, path: KeyPath, *, keys: bool = False) -> Node:
        """The node with every macro in its values expanded; in its keys too if asked."""
        match node:
            case Scalar():
                return replace(self._scalar(node, scope, path, ()), place=node.place, source=node.source)
            case Array():
                items = (self.expand(item, scope, (*path, index)) for index, item in enumerate(node.items))
                return replace(node, items=tuple(items))
            case Table():
                return self._table(node, scope, path, keys=keys)

    def _table(self, node: Table, scope: Scope, path: KeyPath, *, keys: bool) -> Table:
        entries: dict[str, Node] = {}
        places = {}
        for key, value in node.entries.items():
            place = node.key_places.get(key, value.place)
            name = self._scalar(Scalar(key, key, place), scope, (*path, key), ()).text if keys else key
            if name in entries:
                self._problem(Scalar(key, key, place), (*path, key), f'two keys resolve to the same value "{name}"')
            entries[name], places[name] = self.expand(value, scope, (*path, key)), place
        return replace(node, entries=entries, key_places=places)

    def _scalar(self, node: Scalar, scope: Scope, path: KeyPath, stack: tuple[str, ...]) -> Scalar:
        """Expand one value; ``stack`` holds the macros that are being expanded, the outermost first."""
        if not isinstance(node.value, str) or "${" not in node.value:
            return node
        exact = REFERENCE.fullmatch(node.value)
        if exact and exact[1] in scope.macros and exact[1] not in stack:
            macro = scope.macros[exact[1]]
            return self._scalar(macro.value, scope, macro.path, (*stack, exact[1]))
        unknown, only_env, end = node.unknown, True, 0
        parts: list[str] = []
        for found in REFERENCE.finditer(node.value):
            only_env = only_env and found[1].startswith("env.")
            part = self._part(found[1], node, scope, path, stack)
            parts += [node.value[end : found.start()], part.text]
            unknown, end = unknown or part.unknown, found.end()
        text = "".join([*parts, node.value[end:]])
        # An environment macro without quotes has the type that its value would have in its place.
        typed = node.plain and only_env and not scope.keep_env and text != node.value
        value = resolve_plain(text) if typed else text
        return replace(node, value=text if value is None else value, text=text, unknown=unknown)

    def _part(self, name: str, node: Scalar, scope: Scope, path: KeyPath, stack: tuple[str, ...]) -> Scalar:
        """What stands in for one macro inside a longer text."""
        if name.startswith("env."):
            return self._env(name.removeprefix("env."), node, scope, path, stack)
        reference = "${" + name + "}"
        if name in stack:
            return replace(node, text=reference, unknown=True)  # check_cycles has named it
        if name in scope.macros:
            macro = scope.macros[name]
            inner = self._scalar(macro.value, scope, macro.path, (*stack, name))
            spelled = str(inner.value).lower() if isinstance(inner.value, bool) else inner.text
            return replace(inner, text=spelled)
        if name in scope.kept:
            return replace(node, text=reference)
        self._unknown(name, node, scope, path)
        return replace(node, text=reference, unknown=True)

    def _unknown(self, name: str, node: Scalar, scope: Scope, path: KeyPath) -> None:
        if name == "PID":
            fix = "${PID} is known only in cmdStop"
        elif name in RESERVED:
            fix = f"${{{name}}} is known only inside a model"
        else:
            near = nearest_name(name, [*scope.macros, *scope.kept])
            fix = f"did you mean ${{{near}}}?" if near else f"declare it: macros: {{{name}: ...}}"
        self._problem(node, path, f"unknown macro '${{{name}}}' found in {render_key(path)}", fix)

    def _env(self, name: str, node: Scalar, scope: Scope, path: KeyPath, stack: tuple[str, ...]) -> Scalar:
        reference = "${env." + name + "}"
        value = self.env.get(name)
        self.env_names.add(name)
        if not _ENV_NAME.fullmatch(name):
            self._problem(node, path, f"'{name}' is no name of an environment variable", "letters, digits and _ only")
        elif value is None and self.allow_missing_env:
            self._problem(node, path, f"environment variable '{name}' is not set", "set it at run time", warn=True)
            return replace(node, text=reference if scope.keep_env else f"<unset:{name}>", unknown=True)
        elif value is None:
            fix = f"set {name} for the service (EnvironmentFile= of its unit, for one)"
            self._problem(node, path, f"environment variable '{name}' is not set", fix)
        elif _FORBIDDEN_IN_ENV.search(value):
            rule = f"environment variable '{name}' contains newlines or null bytes, which are not allowed"
            self._problem(node, path, rule, "remove them, most often from the end")
        elif REFERENCE.search(value):
            # Text with macros of its own is part of the configuration, as it is for llama-swap.
            held = Scalar(value, value, node.place, source=node.source)
            return self._scalar(held, scope, path, (*stack, reference)) if reference not in stack else held
        else:
            return replace(node, text=reference if scope.keep_env else value)
        return replace(node, text=reference, unknown=True)

    def _problem(self, node: Scalar, path: KeyPath, rule: str, fix: str = "", *, warn: bool = False) -> None:
        """Add a problem; a global macro adds the same one for every model, which counts once in the end."""
        shown = shown_value(node.source, path) if node.source else None
        problem = Problem(node.place.file, node.place.line, render_key(path), shown, rule, fix)
        (self.warnings if warn else self.problems).append(problem)

    def declared(self, node: Node | None, path: KeyPath) -> dict[str, Macro]:
        """The macros of one ``macros`` mapping; those that break a rule are reported and left out."""
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return {}
        if not isinstance(node, Table):
            held = node if isinstance(node, Scalar) else Scalar("", "", node.place)
            self._problem(held, path, "must be a mapping of names to values", "macros: {name: value}")
            return {}
        found: dict[str, Macro] = {}
        for name, value in node.entries.items():
            held = value if isinstance(value, Scalar) else Scalar("", "", value.place)
            rule, fix = _name_rule(name)
            if not isinstance(value, Scalar) or value.value is None:
                rule = f"macro '{name}' must be a scalar type (text, number, true or false)"
            if rule:
                self._problem(replace(held, place=node.key_places.get(name, held.place)), (*path, name), rule, fix)
            else:
                found[name] = Macro(held, (*path, name))
        return found

    def check_cycles(self, macros: Mapping[str, Macro]) -> None:
        """Report every cycle among macros, once."""
        for name in macros:
            for cycle in _cycles(name, macros, ()):
                first = cycle.index(min(cycle))
                turned = (*cycle[first:], *cycle[: first + 1])
                node = macros[turned[0]]
                alone = f"macro '{turned[0]}' contains self-reference"
                rule = alone if len(cycle) == 1 else "macros in a cycle: " + " -> ".join(turned)
                self._problem(node.value, node.path, rule, "give one of them a value of its own")


def _name_rule(name: str) -> tuple[str, str]:
    if name in RESERVED:
        return f"macro name '{name}' is reserved", "choose another name"
    if len(name) > LONGEST_NAME:
        return f"macro name '{name}' exceeds maximum length of {LONGEST_NAME} characters", "shorten it"
    if not _NAME.fullmatch(name):
        return f"macro name '{name}' contains invalid characters", "letters, digits, _ and - only"
    return "", ""


def _cycles(name: str, macros: Mapping[str, Macro], stack: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if name in stack:
        if name == stack[0]:
            yield stack
        return
    value = macros[name].value.value
    for used in REFERENCE.findall(value) if isinstance(value, str) else ():
        if used in macros:
            yield from _cycles(used, macros, (*stack, name))
