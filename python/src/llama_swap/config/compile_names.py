"""Checked profiles, selectors and peers to the values that the service uses."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from llama_swap.config.compile import request_filters, request_timeouts
from llama_swap.config.schema import ConfigFile
from llama_swap.config.values import Peer, PeerModel, Profile, Selector, Strategy


def compile_profiles(file: ConfigFile) -> dict[str, Profile]:
    """By name, in the order of the file."""
    return {
        name: Profile(profile.description.strip(), {pin: target or None for pin, target in profile.pins.items()})
        for name, profile in file.profiles.items()
    }


def compile_selectors(file: ConfigFile) -> dict[str, Selector]:
    """By name, sorted as models are."""
    return {
        name: Selector(
            # Anything else stands for a variable that is not set yet, which only a check at build time lets pass.
            strategy=Strategy(selector.strategy) if selector.strategy in set(Strategy) else Strategy.PIN,
            targets=tuple(selector.targets),
            spillover=selector.settings.spillover,
            name=selector.name.strip(),
            description=selector.description.strip(),
            unlisted=selector.unlisted,
            metadata=selector.metadata,
        )
        for name, selector in sorted(file.selectors.items())
    }


def compile_peers(file: ConfigFile, keys: Mapping[str, str]) -> dict[str, Peer]:
    """By ID, sorted; each with its key, if it has one."""
    return {
        name: Peer(
            id=name,
            base_url=peer.proxy.rstrip("/"),
            api_key=keys.get(name),
            models=tuple(dict.fromkeys(peer.models)),
            filters=request_filters(peer.filters),
            timeouts=request_timeouts(peer.timeouts),
        )
        for name, peer in sorted(file.peers.items())
    }


def peer_names(peers: Iterable[Peer]) -> dict[str, PeerModel]:
    """Every name of a model of a peer: the fully qualified one, and the bare one if no other peer has it."""
    offered = [PeerModel(peer, model) for peer in peers for model in peer.models]
    counts = Counter(each.model for each in offered)
    bare = {each.model: each for each in offered if counts[each.model] == 1}
    return bare | {each.qualified: each for each in offered}


def preload_targets(file: ConfigFile) -> Iterator[str]:
    """The names to load at start; for a selector its first target."""
    for written in file.hooks.on_startup.preload:
        selector = file.selectors.get(written.strip())
        yield selector.targets[0] if selector is not None and selector.targets else written.strip()
