"""From files to a configuration, or to everything that is wrong with them.

The steps: parse and merge the sources; expand macros; check against the schema; check the rules between keys; assign
ports; compile. A step goes on with what the one before could use, so that one run finds every problem.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_swap.config.compile import Blueprints, compile_scheduler, ignored_paths
from llama_swap.config.compile_names import (
    compile_peers,
    compile_profiles,
    compile_selectors,
    peer_names,
    preload_targets,
)
from llama_swap.config.expand import expand_tree, fill_port
from llama_swap.config.keyring import KeyRing, collect_keys
from llama_swap.config.macros import Expander
from llama_swap.config.merge import read_sources
from llama_swap.config.names import Finding, NamedModel, accepted_names
from llama_swap.config.ports import PortBook
from llama_swap.config.problems import ConfigError, KeyPath, Problem, render_key
from llama_swap.config.rules import check_advice, check_machine, check_rules, literal_ports
from llama_swap.config.rules_memory import check_memory
from llama_swap.config.schema import ConfigFile
from llama_swap.config.statefile import learned_path
from llama_swap.config.tree import Node, Scalar, Table, node_at, problem_at, without
from llama_swap.config.validate import validate
from llama_swap.config.values import Config, Model

ANY_PORT = 1
"""Stands in where the port is not known yet, to check the types of what uses it; no model ever gets it."""


DEFAULT_ROWS = 1000
DEFAULT_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Checked:
    """A file without problems, and what the checks found on the way.

    Attributes:
        root: the expanded tree, without what an environment variable that may be missing left unusable.
    """

    file: ConfigFile
    root: Node
    port_users: frozenset[str]
    names: Mapping[str, str]
    warnings: tuple[Problem, ...]
    env_names: frozenset[str]
    keys: KeyRing


def load_config(
    sources: Sequence[Path], *, env: Mapping[str, str], ports: PortBook, allow_missing_env: bool = False
) -> Config:
    """Read, check and compile the sources.

    Args:
        sources: from :func:`llama_swap.config.config_sources`.
        env: for ``${env.X}``.
        ports: the one of the service, so that a reload keeps ports; untouched if the configuration is wrong.
        allow_missing_env: an unset variable gives a placeholder and a warning, for a check at build time.

    Raises:
        ConfigError: with everything that is wrong.
    """
    checked = _check(read_sources(sources), env, allow_missing_env=allow_missing_env)
    models_node = node_at(checked.root, ("models",))
    nodes = models_node.entries if isinstance(models_node, Table) else {}
    blueprints = Blueprints(checked.file, nodes, checked.port_users, dict(env))
    models = _bind_all(blueprints, ports, checked.root)
    return _config(checked, tuple(sources), models, blueprints)


def _check(root: Table, env: Mapping[str, str], *, allow_missing_env: bool) -> _Checked:
    expander = Expander(env, allow_missing_env)
    expanded = expand_tree(root, expander)
    valid = validate(fill_port(expanded.root, ANY_PORT))
    claims = {
        name: NamedModel(model.aliases, list(model.filters.set_params_by_id))
        for name, model in valid.file.models.items()
    }
    names, findings = accepted_names(claims)
    problems = [*expander.problems, *valid.problems]
    keys = collect_keys(valid.file, valid.root, env)
    findings = [*expanded.findings, *findings, *keys.findings, *check_rules(valid.file, names)]
    advice = [*check_advice(valid.file, names)]
    # At build time the machine that the file is for is not there.
    (advice if allow_missing_env else findings).extend((*keys.unread, *check_machine(valid.file)))
    problems += _located(_without_consequences(findings, problems), valid.root)
    if problems:
        raise ConfigError(_in_order(problems))
    warnings = _in_order([*expander.warnings, *_located(advice, valid.root)])
    kept: Node = expanded.root
    for path in valid.removed:
        kept = without(kept, path)
    return _Checked(valid.file, kept, expanded.port_users, names, warnings, frozenset(expander.env_names), keys)


def _without_consequences(findings: Iterable[Finding], problems: Sequence[Problem]) -> list[Finding]:
    """The findings that do not only follow from something else that is wrong."""
    wrong = {problem.key for problem in problems}
    return [
        finding
        for finding in findings
        if not any(render_key(finding.path[:length]) in wrong for length in range(1, len(finding.path) + 1))
        and not any(_is_below(key, need) for need in finding.needs for key in wrong)
    ]


def _is_below(key: str, path: KeyPath) -> bool:
    """Whether a rendered key is this path or inside it."""
    prefix = render_key(path)
    return key == prefix or key.startswith((prefix + ".", prefix + "["))


def _located(findings: Iterable[Finding], root: Node) -> list[Problem]:
    """The findings with their places, but for those about a value that is not known yet."""
    return [
        problem_at(root, finding.path, finding.rule, finding.fix)
        for finding in findings
        if not (isinstance(node := node_at(root, finding.path), Scalar) and node.unknown)
    ]


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """By file, in the order in which the files were found wrong, then by line; each once."""
    unique = tuple(dict.fromkeys(problems))
    files = list(dict.fromkeys(problem.file for problem in unique))
    return tuple(sorted(unique, key=lambda problem: (files.index(problem.file), problem.line)))


def _bind_all(blueprints: Blueprints, ports: PortBook, root: Node) -> dict[str, Model]:
    """Every model with its port, in the order of their IDs, which is the order of ports too."""
    start = blueprints.file.start_port
    ports.reserve(literal_ports(blueprints.file))
    models: dict[str, Model] = {}
    for model_id in sorted(blueprints.nodes):
        try:
            port = ports.port_for(model_id, start) if model_id in blueprints.port_users else 0
        except LookupError as error:
            raise ConfigError([problem_at(root, ("startPort",), str(error), "choose a lower one")]) from None
        models[model_id] = blueprints.model(model_id, port)
    return models


def _config(checked: _Checked, sources: tuple[Path, ...], models: dict[str, Model], blueprints: Blueprints) -> Config:
    file, names, fit = checked.file, checked.names, checked.file.routing.router.settings.fit
    peers = compile_peers(file, checked.keys.peers)
    preload = (names.get(name) for name in preload_targets(file))
    return Config(
        models=models,
        names=names,
        scheduler=compile_scheduler(file, models, names, checked.keys.clients.values()),
        api_keys=tuple(checked.keys.clients),
        api_callers=checked.keys.clients,
        preload=tuple(dict.fromkeys(filter(None, preload))),
        log_level=file.log_level,
        log_time_format=file.log_time_format,
        log_to_stdout=file.log_to_stdout,
        ignore_paths=ignored_paths(file),
        include_aliases_in_list=file.include_aliases_in_list,
        allowed_hosts=tuple(host.lower().rstrip(".") for host in file.allowed_hosts),
        max_body_bytes=file.max_body_size,
        start_port=file.start_port,
        sources=sources,
        warnings=_in_order([*checked.warnings, *_located(check_memory(models.values()), checked.root)]),
        env_names=checked.env_names,
        profiles=compile_profiles(file),
        selectors=compile_selectors(file),
        peers=peers,
        peer_names=peer_names(peers.values()),
        store_path=Path(file.store.path) if file.store.path else None,
        store_max_rows=file.store.max_rows,
        store_max_age_days=file.store.max_age_days,
        metrics_max_in_memory=file.metrics_max_in_memory if file.metrics_max_in_memory > 0 else DEFAULT_ROWS,
        capture_buffer_bytes=file.capture_buffer << 20,
        performance_enabled=not file.performance.disabled,
        performance_every_seconds=file.performance.every or DEFAULT_EVERY_SECONDS,
        session_id_headers=_header_names(file.ui.activity.session_id),
        keep_alive_honoured=file.keep_alive.honour,
        keep_alive_max_seconds=file.keep_alive.max,
        fit_learned_path=learned_path(fit.learned, blueprints.env),
        ask_llama_cpp=fit.ask_llama_cpp,
        bind=blueprints.model,
    )


def _header_names(written: Iterable[str]) -> tuple[str, ...]:
    """Trimmed, each once whatever its case, the empty ones left out."""
    names: dict[str, str] = {}
    for name in written:
        names.setdefault(name.strip().lower(), name.strip())
    return tuple(name for name in names.values() if name)
