"""Rules that take more than one key to check; llama-swap's, and those of ours that it leaves unchecked."""

import re
import warnings
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from llama_swap.config.names import Finding, did_you_mean
from llama_swap.config.problems import KeyPath
from llama_swap.config.schema import ConfigFile
from llama_swap.config.schema_model import FiltersSection, ModelSection
from llama_swap.config.schema_routing import GroupSection

ROUTER = ("routing", "router")
ROUTER_GROUPS = (*ROUTER, "settings", "groups")
FIFO = ("routing", "scheduler", "settings", "fifo")
PRELOAD = ("hooks", "on_startup", "preload")


def check_rules(file: ConfigFile, names: Mapping[str, str]) -> Iterator[Finding]:
    """Every broken rule but those about names, which :func:`llama_swap.config.names.accepted_names` checks."""
    yield from _check_top(file)
    for model_id, model in file.models.items():
        yield from _check_model(("models", model_id), model)
    yield from _check_routing(file, names)
    groups, path = configured_groups(file)
    yield from _check_groups(groups, path, file, names)
    for index, name in enumerate(file.hooks.on_startup.preload):
        if name.strip() not in names:
            yield _unknown_model((*PRELOAD, index), name, names)


def check_advice(file: ConfigFile) -> Iterator[Finding]:
    """What works, but not as its author may think."""
    if file.log_requests is not None:
        yield Finding(("logRequests",), "has no effect, as in llama-swap", "remove it; requests are always logged")
    groups, path = configured_groups(file)
    for name, group in groups.items():
        if group.preload is not None:
            yield Finding((*path, name, "preload"), "has no effect, as in llama-swap", "use hooks.on_startup.preload")
    yield from _twins(file)
    for model_id, model in file.models.items():
        own = ("models", model_id)
        if not model.cmd:
            yield Finding(own, "has no `cmd`, so a request for it ends in an error")
        params = model.filters
        for key, values in ((("setParams",), params.set_params), *_by_id(params)):
            if "model" in values:
                yield Finding((*own, "filters", *key, "model"), "is ignored", "use useModelName of the model")


def _by_id(filters: FiltersSection) -> Iterator[tuple[KeyPath, Mapping[str, object]]]:
    for name, values in filters.set_params_by_id.items():
        yield ("setParamsByID", name), values


def _twins(file: ConfigFile) -> Iterator[Finding]:
    """Models that run the same command twice over: a swap between them is for nothing."""
    first: dict[tuple[object, ...], str] = {}
    for model_id, model in sorted(file.models.items()):
        started = (model.cmd, tuple(model.env), model.proxy)
        other = first.setdefault(started, model_id)
        if model.cmd and other != model_id:
            fix = "an alias of that model, or a name in its filters.setParamsByID, needs no swap"
            yield Finding(("models", model_id), f"runs the same command as model {other}", fix)


def configured_groups(file: ConfigFile) -> tuple[Mapping[str, GroupSection], KeyPath]:
    """The groups in force, in whichever of the two spellings, and where they stand."""
    return (file.groups, ("groups",)) if file.groups else (file.routing.router.settings.groups, ROUTER_GROUPS)


def literal_ports(file: ConfigFile) -> Iterator[int]:
    """The ports of this machine that models name themselves, so that no other model may get them."""
    for model in file.models.values():
        parts = urlsplit(model.proxy)
        if parts.hostname in {"localhost", "127.0.0.1", "::1"} and parts.port is not None:
            yield parts.port


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression of Go's RE2 as one of Python's.

    Raises:
        ValueError: it is none, or none that both read in the same way; the text says why.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        try:
            return re.compile(re.sub(r"(?<!\\)((?:\\\\)*)\\z", r"\1\\Z", pattern))
        except (re.error, FutureWarning, RecursionError) as error:
            raise ValueError(str(error)) from None


def _check_top(file: ConfigFile) -> Iterator[Finding]:
    for index, pattern in enumerate(file.upstream.ignore_paths):
        try:
            compile_pattern(pattern)
        except ValueError as error:
            yield Finding(("upstream", "ignorePaths", index), f"invalid regular expression: {error}")
    for index, host in enumerate(file.allowed_hosts):
        if not re.fullmatch(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?", host):
            yield Finding(
                ("allowedHosts", index), "must be a host name", "without scheme, port and path: llm.example.org"
            )


def _check_model(path: KeyPath, model: ModelSection) -> Iterator[Finding]:
    if not path[-1]:
        yield Finding(path, "a model needs an ID that is not empty")
    for index, entry in enumerate(model.env):
        if not entry.partition("=")[0].strip() or "=" not in entry or "\0" in entry:
            yield Finding((*path, "env", index), "must be NAME=value", "as in: - CUDA_VISIBLE_DEVICES=0")
    for key, command in (("cmd", model.cmd), ("cmdStop", model.cmd_stop)):
        if any("\0" in part for part in command):
            yield Finding((*path, key), "must not contain null bytes")
    if (reason := _url_fault(model.proxy)) is not None:
        yield Finding((*path, "proxy"), f"invalid proxy URL: {reason}", "as in http://127.0.0.1:8080")


def _url_fault(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in {"http", "https"}:
        return "it must start with http:// or https://"
    if parts.query or parts.fragment:
        return "it must not have a query or a fragment"
    return None if parts.hostname else "it has no host"


def _check_routing(file: ConfigFile, names: Mapping[str, str]) -> Iterator[Finding]:
    router, scheduler = file.routing.router, file.routing.scheduler
    if file.groups and "router" in file.routing.model_fields_set:
        rule = "config uses both the legacy top-level `groups` key and the new `routing.router` block"
        yield Finding(("groups",), rule, "move the groups to routing.router.settings.groups")
    if router.use == "matrix":
        rule = "routing.router.use is 'matrix', which is not supported by this version"
        yield Finding((*ROUTER, "use"), rule, "use groups")
    elif router.use != "group":
        yield Finding((*ROUTER, "use"), f'unknown router "{router.use}" (valid: group)')
    if scheduler.use != "fifo":
        yield Finding(("routing", "scheduler", "use"), f'unknown scheduler "{scheduler.use}" (valid: fifo)')
    given: dict[str, str] = {}
    for name in scheduler.settings.fifo.priority:
        path = (*FIFO, "priority", name)
        if name not in names:
            yield _unknown_model(path, name, names)
        elif (other := given.setdefault(names[name], name)) != name:
            yield Finding(path, f"model {names[name]} has a priority already, as {other}", "keep one")


def _check_groups(
    groups: Mapping[str, GroupSection], path: KeyPath, file: ConfigFile, names: Mapping[str, str]
) -> Iterator[Finding]:
    owner: dict[str, str] = {}
    for name, group in groups.items():
        for index, member in enumerate(group.members):
            at = (*path, name, "members", index)
            if member not in file.models and member in names:
                yield Finding(at, f"{member} is an alias; a group has IDs of models", f"write {names[member]}")
            elif member not in file.models:
                yield _unknown_model(at, member, file.models)
            elif owner.get(member) == name:
                yield Finding(at, f"duplicate model member {member} found in group: {name}", "remove one")
            elif member in owner:
                rule = f"model member {member} is used in multiple groups: {owner[member]} and {name}"
                yield Finding(at, rule, "keep it in one")
            else:
                owner[member] = name


def _unknown_model(path: KeyPath, name: str, known: Mapping[str, object]) -> Finding:
    fix = did_you_mean(name, known) or "known: " + (", ".join(sorted(known)) or "none")
    return Finding(path, f'unknown model "{name}"', fix)
