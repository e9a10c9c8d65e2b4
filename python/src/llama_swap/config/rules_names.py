"""Rules about profiles, selectors and peers: what a name may stand for, and which names are taken."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from llama_swap.config.names import Finding, did_you_mean, suggest
from llama_swap.config.problems import KeyPath
from llama_swap.config.rules_routing import Router, check_coexistence, router_in_force
from llama_swap.config.schema import ConfigFile
from llama_swap.config.schema_names import PeerSection, SelectorSection
from llama_swap.config.urls import url_fault
from llama_swap.config.values import Strategy

ANOTHER_NAME = "choose another name"


@dataclass(frozen=True, slots=True)
class Directory:
    """What every name stands for.

    Attributes:
        local: ID or alias -> model ID.
        qualified: ``PEER/MODEL`` -> where the file has the peer's model.
        bare: name of a peer's model without the peer -> the peers that have it.
    """

    local: Mapping[str, str]
    qualified: Mapping[str, KeyPath]
    bare: Mapping[str, tuple[str, ...]]

    def target(self, name: str) -> str | None:
        """The model that a target means: a model ID or ``PEER/MODEL``; None if it means none, or one of several."""
        if name in self.local:
            return self.local[name]
        if name in self.qualified:
            return name
        owners = self.bare.get(name, ())
        return f"{owners[0]}/{name}" if len(owners) == 1 else None

    def advice(self, name: str, *others: str) -> str:
        """What to write instead of a target that means nothing."""
        if owners := self.bare.get(name):
            return f"several peers have it: write {owners[0]}/{name}"
        return suggest(name, {*self.local, *self.qualified, *self.bare, *others})


def directory(file: ConfigFile, local: Mapping[str, str]) -> Directory:
    """The names of a file."""
    qualified: dict[str, KeyPath] = {}
    bare: dict[str, tuple[str, ...]] = {}
    for peer_id, peer in sorted(file.peers.items()):
        for index, model in enumerate(peer.models):
            qualified.setdefault(f"{peer_id}/{model}", ("peers", peer_id, "models", index))
            if peer_id not in bare.get(model, ()):
                bare[model] = (*bare.get(model, ()), peer_id)
    return Directory(local, qualified, bare)


def check_names(file: ConfigFile, known: Directory) -> Iterator[Finding]:
    """Every broken rule about names that stand for something else."""
    for peer_id, peer in file.peers.items():
        yield from _check_peer(("peers", peer_id), peer)
    yield from _check_qualified(file, known)
    for name, selector in file.selectors.items():
        yield from _check_selector(name, selector, file, known)
    for name, profile in file.profiles.items():
        own = ("profiles", name)
        if not name.strip():
            yield Finding(own, "a profile needs a name that is not empty")
        if not profile.pins:
            yield Finding((*own, "pins"), "must contain at least one entry", "pins: {NAME: MODEL}", ((*own, "pins"),))
        for pin, target in profile.pins.items():
            yield from _check_pin((*own, "pins", pin), target, file, known)


def _check_pin(path: KeyPath, target: str, file: ConfigFile, known: Directory) -> Iterator[Finding]:
    if not str(path[-1]).strip():
        yield Finding(path, "the name of a pin must not be empty")
    elif target and target not in file.selectors and known.target(target) is None:
        yield Finding(path, f'references unknown model "{target}"', known.advice(target, *file.selectors))


def _check_peer(path: KeyPath, peer: PeerSection) -> Iterator[Finding]:
    if not str(path[-1]).strip():
        yield Finding(path, "a peer needs an ID that is not empty")
    if not peer.proxy:
        yield Finding(path, "proxy is required", "proxy: http://HOST:PORT", ((*path, "proxy"),))
    elif (reason := url_fault(peer.proxy)) is not None:
        yield Finding((*path, "proxy"), f"invalid peer proxy URL: {reason}", "as in http://192.0.2.7:8080")
    if not peer.models:
        yield Finding(path, "peer models can not be empty", "models: [NAME]", ((*path, "models"),))
    for index, model in enumerate(peer.models):
        if not model.strip():
            yield Finding((*path, "models", index), "a model needs a name that is not empty")


def _check_qualified(file: ConfigFile, known: Directory) -> Iterator[Finding]:
    """The names ``PEER/MODEL`` belong to the peers alone, each to one."""
    for peer_id, peer in file.peers.items():
        for index, model in enumerate(peer.models):
            path: KeyPath = ("peers", peer_id, "models", index)
            name = f"{peer_id}/{model}"
            owner = known.qualified[name]
            if owner[1] != peer_id:
                rule = f'peer model name "{name}" is ambiguous between peers {owner[1]} and {peer_id}'
                yield Finding(path, rule, "give one of the peers another ID")
    for what, path in _claims(file):
        name = str(path[-1]) if isinstance(path[-1], str) else file.models[str(path[1])].aliases[path[-1]]
        if name in known.qualified:
            yield Finding(path, f'{what} "{name}" conflicts with fully qualified peer model name', ANOTHER_NAME)


def _claims(file: ConfigFile) -> Iterator[tuple[str, KeyPath]]:
    """Every name that somebody other than a peer claims: what it is, and where; an alias by its place in the list."""
    for model_id, model in file.models.items():
        own = ("models", model_id)
        yield "model ID", own
        yield from (("alias", (*own, "aliases", index)) for index in range(len(model.aliases)))
        yield from (("alias", (*own, "filters", "setParamsByID", name)) for name in model.filters.set_params_by_id)
    yield from (("selector ID", ("selectors", name)) for name in file.selectors)
    for name, profile in file.profiles.items():
        yield from (("pin", ("profiles", name, "pins", pin)) for pin in profile.pins)


def _check_selector(name: str, selector: SelectorSection, file: ConfigFile, known: Directory) -> Iterator[Finding]:
    own = ("selectors", name)
    if not name.strip():
        yield Finding(own, "a selector needs a name that is not empty")
    if name in file.models:
        yield Finding(own, f'name conflicts with model ID "{name}"', ANOTHER_NAME)
    elif name in known.local:
        yield Finding(own, f'name conflicts with model alias "{name}"', ANOTHER_NAME)
    if not selector.strategy:
        yield Finding(own, "strategy is required", "strategy: pin, warm or spillover", ((*own, "strategy"),))
    elif selector.strategy not in set(Strategy):
        words = list(Strategy)
        rule = f'unknown strategy "{selector.strategy}" (valid: warm, pin, spillover)'
        yield Finding((*own, "strategy"), rule, did_you_mean(selector.strategy, words))
    targets = (*own, "targets")
    if not selector.targets:
        yield Finding(own, "targets must contain at least one entry", "targets: [MODEL]", (targets,))
    for index, target in enumerate(selector.targets):
        yield from _check_target((*targets, index), target, selector.strategy, file, known)
    if selector.strategy == Strategy.SPILLOVER:
        yield from _check_spillover(own, selector, file, known)


def _check_target(path: KeyPath, target: str, strategy: str, file: ConfigFile, known: Directory) -> Iterator[Finding]:
    if target in file.selectors:
        rule = f'references selector "{target}"; selector chaining is not supported'
        yield Finding(path, rule, "name the models themselves")
    elif known.target(target) is None:
        yield Finding(path, f'references unknown model "{target}"', known.advice(target))
    elif strategy == Strategy.WARM and target not in known.local:
        rule = f'must resolve to a local model for strategy "{strategy}"'
        yield Finding(path, rule, "whether a peer's model is ready is not known; use spillover or pin")


def _check_spillover(own: KeyPath, selector: SelectorSection, file: ConfigFile, known: Directory) -> Iterator[Finding]:
    if selector.settings.spillover < 1:
        yield Finding((*own, "settings", "spillover"), "must be >= 1")
    seen: dict[str, str] = {}
    for index, target in enumerate(selector.targets):
        meant = known.target(target)
        if (meant is not None and seen.setdefault(meant, target) != target) or target in selector.targets[:index]:
            rule = f'targets contains duplicate resolved model "{meant}"'
            yield Finding((*own, "targets", index), rule, "keep one of them")
    yield from check_coexistence((*own, "targets"), _local_targets(selector, known), file)


def check_spillover_advice(file: ConfigFile, known: Directory) -> Iterator[Finding]:
    """Selectors that may run several models at once on this machine and not on another."""
    if router_in_force(file) is not Router.AUTO:
        return
    for name, selector in file.selectors.items():
        if selector.strategy == Strategy.SPILLOVER and len(_local_targets(selector, known)) > 1:
            rule = "these run at once only where the memory of devices can be measured; elsewhere each stops the other"
            fix = "write routing.router.use: fit, or put them into one group with `swap: false`"
            yield Finding(("selectors", name, "targets"), rule, fix)


def _local_targets(selector: SelectorSection, known: Directory) -> tuple[str, ...]:
    return tuple(dict.fromkeys(known.local[target] for target in selector.targets if target in known.local))
