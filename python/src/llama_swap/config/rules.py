"""Rules that take more than one key to check; llama-swap's, and those of ours that it leaves unchecked."""

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from llama_swap.config.names import Finding
from llama_swap.config.problems import KeyPath
from llama_swap.config.rules_names import Directory, check_names, check_spillover_advice, directory
from llama_swap.config.rules_routing import ROUTER, check_idle_routing, check_routing, groups_in_force, unknown_model
from llama_swap.config.schema import ConfigFile
from llama_swap.config.schema_model import FiltersSection, ModelSection
from llama_swap.config.storefile import store_fault
from llama_swap.config.urls import url_fault
from llama_swap.dial import local_port

PRELOAD = ("hooks", "on_startup", "preload")
STORE_PATH = ("store", "path")
LEARNED = (*ROUTER, "settings", "fit", "learned")
SHORTEST_EVERY_SECONDS = 5.0


def check_rules(file: ConfigFile, names: Mapping[str, str]) -> Iterator[Finding]:
    """Every broken rule but those that :func:`llama_swap.config.names.accepted_names` checks."""
    known = directory(file, names)
    yield from _check_top(file)
    for model_id, model in file.models.items():
        yield from _check_model(("models", model_id), model)
    yield from check_routing(file, names)
    yield from check_names(file, known)
    for index, name in enumerate(file.hooks.on_startup.preload):
        yield from _check_preload((*PRELOAD, index), name.strip(), file, known)


def check_machine(file: ConfigFile) -> Iterator[Finding]:
    """What does not hold on this machine, and may on the one that the file is for."""
    files = {STORE_PATH: file.store.path, LEARNED: file.routing.router.settings.fit.learned}
    for key, path in files.items():
        if path and path.strip() and (reason := store_fault(Path(path))) is not None:
            yield Finding(key, reason, "see that the service may write there")


def check_advice(file: ConfigFile, names: Mapping[str, str]) -> Iterator[Finding]:
    """What works, but not as its author may think."""
    yield from check_idle_routing(file, names)
    yield from check_spillover_advice(file, directory(file, names))
    if file.log_requests is not None:
        yield Finding(("logRequests",), "has no effect, as in llama-swap", "remove it; requests are always logged")
    groups, path = groups_in_force(file)
    for name, group in groups.items():
        if group.preload is not None:
            yield Finding((*path, name, "preload"), "has no effect, as in llama-swap", "use hooks.on_startup.preload")
    yield from _twins(file)
    for model_id, model in file.models.items():
        own = ("models", model_id)
        if not model.cmd:
            yield Finding(own, "has no `cmd`, so a request for it ends in an error")
        yield from _ignored_params(own, model.filters, "use useModelName of the model")
    for peer_id, peer in file.peers.items():
        yield from _ignored_params(
            ("peers", peer_id), peer.filters, "a peer is sent the name that it has for the model"
        )


def _ignored_params(own: KeyPath, filters: FiltersSection, fix: str) -> Iterator[Finding]:
    by_id = ((("setParamsByID", name), values) for name, values in filters.set_params_by_id.items())
    for key, values in ((("setParams",), filters.set_params), *by_id):
        if "model" in values:
            yield Finding((*own, "filters", *key, "model"), "is ignored", fix)


def _twins(file: ConfigFile) -> Iterator[Finding]:
    """Models that run the same command twice over: a swap between them is for nothing."""
    first: dict[tuple[object, ...], str] = {}
    for model_id, model in sorted(file.models.items()):
        started = (model.cmd, tuple(model.env), model.proxy)
        other = first.setdefault(started, model_id)
        if model.cmd and other != model_id:
            fix = "an alias of that model, or a name in its filters.setParamsByID, needs no swap"
            yield Finding(("models", model_id), f"runs the same command as model {other}", fix)


def literal_ports(file: ConfigFile) -> Iterator[int]:
    """The ports of this machine that models name themselves, so that no other model may get them."""
    for model in file.models.values():
        port = local_port(urlsplit(model.proxy))
        if port is not None:
            yield port


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
    if file.store.path is not None and not file.store.path.strip():
        yield Finding(STORE_PATH, "store.path must not be empty", "remove it to keep the list in memory")
    every = file.performance.every
    if 0 < every < SHORTEST_EVERY_SECONDS:
        rule = f"performance: every must be at least {SHORTEST_EVERY_SECONDS:g}s, got {every:g}s"
        yield Finding(("performance", "every"), rule, "performance: {disabled: true} takes no figures")
    for index, host in enumerate(file.allowed_hosts):
        if not re.fullmatch(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?", host):
            yield Finding(
                ("allowedHosts", index), "must be a host name", "without scheme, port and path: llm.example.org"
            )


def _check_preload(path: KeyPath, name: str, file: ConfigFile, known: Directory) -> Iterator[Finding]:
    selector = file.selectors.get(name)
    meant = selector.targets[0] if selector is not None and selector.targets else name
    if known.target(meant) is None and selector is None:
        yield unknown_model(path, name, {**known.local, **file.selectors})
    elif known.target(meant) is not None and meant not in known.local:
        yield Finding(
            path, f"{known.target(meant)} is served by a peer", "only models of this machine can be preloaded"
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
    if (reason := url_fault(model.proxy)) is not None:
        yield Finding((*path, "proxy"), f"invalid proxy URL: {reason}", "as in http://127.0.0.1:8080")
