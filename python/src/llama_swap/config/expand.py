"""A merged tree to one without macros, model by model."""

from dataclasses import dataclass, replace

from llama_swap.config.argv import drop_comments
from llama_swap.config.macros import Expander, Macro, Scope
from llama_swap.config.names import Finding, nearest_name
from llama_swap.config.problems import KeyPath
from llama_swap.config.schema import ConfigFile
from llama_swap.config.tree import Array, Node, Scalar, Table, has_anchor

PORT = "${PORT}"
DEFAULT_PROXY = f"http://localhost:{PORT}"
MISSPELT = 0.75
"""How like a known key an unknown one with an anchor must be to count as a slip, and not as a name of its author's."""
_COMMANDS = {"cmd": frozenset({"PORT"}), "cmdStop": frozenset({"PORT", "PID"})}


@dataclass(frozen=True, slots=True)
class Expanded:
    """A tree without macros but ``${PORT}`` and ``${PID}``, and environment macros in commands.

    Attributes:
        port_users: the models whose command uses ``${PORT}``.
        findings: uses of ``${PORT}`` that cannot be.
    """

    root: Table
    port_users: frozenset[str]
    findings: tuple[Finding, ...]


def expand_tree(root: Table, expander: Expander) -> Expanded:
    """Expand everything; problems are collected in the expander."""
    root = _without_anchor_holders(root)
    macros = expander.declared(root.entries.get("macros"), ("macros",))
    expander.check_cycles(macros)
    entries = {
        key: value if key == "models" else expander.expand(value, Scope(macros), (key,))
        for key, value in root.entries.items()
        if key != "macros"
    }
    models = root.entries.get("models")
    users: set[str] = set()
    findings: list[Finding] = []
    if isinstance(models, Table):
        expanded = {name: _model(name, models, macros, expander) for name in sorted(models.entries)}
        entries["models"] = replace(models, entries=expanded)
        for name, model in expanded.items():
            if isinstance(model, Table) and _mentions_port(model.entries.get("cmd")):
                users.add(name)
            else:
                findings += _port_without_command(name, model)
    return Expanded(replace(root, entries=entries), frozenset(users), tuple(findings))


def fill_port(node: Node, port: int) -> Node:
    """A model's expanded node with its port in place of ``${PORT}``, as a number where it stands alone."""
    match node:
        case Scalar(value=str(value)) if PORT in value:
            text = value.replace(PORT, str(port))
            return replace(node, value=port if value == PORT else text, text=text)
        case Array():
            return replace(node, items=tuple(fill_port(item, port) for item in node.items))
        case Table():
            return replace(node, entries={key: fill_port(value, port) for key, value in node.entries.items()})
        case _:
            return node


def _without_anchor_holders(root: Table) -> Table:
    """Without top-level keys that only hold anchors, which llama-swap ignores; merge keys need a place to merge from.

    A key that looks like a misspelt one is kept, to be reported.
    """
    known = [str(field.alias) for field in ConfigFile.model_fields.values()]
    holders = {
        key
        for key, value in root.entries.items()
        if key.startswith("x-")
        or (key not in known and has_anchor(value) and not nearest_name(key, known, likeness=MISSPELT))
    }
    return replace(root, entries={key: value for key, value in root.entries.items() if key not in holders})


def _model(name: str, models: Table, macros: dict[str, Macro], expander: Expander) -> Node:
    node, path = models.entries[name], ("models", name)
    if isinstance(node, Scalar) and node.value is None:
        node = Table({}, node.place)  # `models: {a: }` has only defaults
    if not isinstance(node, Table):
        return node
    own = expander.declared(node.entries.get("macros"), (*path, "macros"))
    model_id = Scalar(name, name, models.key_places[name])
    known = {"MODEL_ID": Macro(model_id, path), **macros, **own}
    proxy = Scalar(DEFAULT_PROXY, DEFAULT_PROXY, model_id.place, source=f"{DEFAULT_PROXY} (the default)")
    expander.check_cycles(known)
    entries = {
        key: _model_key(key, value, known, (*path, key), expander)
        for key, value in node.entries.items()
        if key != "macros" and not (key == "proxy" and isinstance(value, Scalar) and value.value is None)
    }
    return replace(node, entries={"proxy": proxy} | entries)


def _model_key(key: str, value: Node, macros: dict[str, Macro], path: KeyPath, expander: Expander) -> Node:
    if key in _COMMANDS:
        if isinstance(value, Scalar) and isinstance(value.value, str):
            value = replace(value, value=drop_comments(value.value))
        return expander.expand(value, Scope(macros, _COMMANDS[key], keep_env=True), path)
    scope = Scope(macros, frozenset({"PORT"}))
    if key == "filters" and isinstance(value, Table):
        filters = {
            name: expander.expand(child, scope, (*path, name), keys=name == "setParamsByID")
            for name, child in value.entries.items()
        }
        return replace(value, entries=filters)
    return expander.expand(value, scope, path)


def _mentions_port(node: Node | None) -> bool:
    match node:
        case Scalar(value=str(text)):
            return PORT in text
        case Array():
            return any(map(_mentions_port, node.items))
        case Table():
            return any(map(_mentions_port, node.entries.values()))
        case _:
            return False


def _is_unknown(node: Node | None) -> bool:
    """Whether a macro or variable that there is not might have brought ``${PORT}``."""
    if isinstance(node, Array):
        return any(map(_is_unknown, node.items))
    return isinstance(node, Scalar) and node.unknown


def _port_without_command(name: str, model: Node) -> list[Finding]:
    """What needs the port in a model whose command does not use it, so that there is none."""
    if not isinstance(model, Table) or _is_unknown(model.entries.get("cmd")):
        return []
    fix = "${PORT} is only available when used in cmd: use it there, or give proxy a URL with a port"
    needs = (("models", name, "cmd"),)
    return [
        Finding(("models", name, key), f"model {name}: {key} uses ${{PORT}} but cmd does not", fix, needs)
        for key, value in model.entries.items()
        if key != "cmd" and _mentions_port(value)
    ]
