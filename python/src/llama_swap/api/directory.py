"""What the configuration in force says to requests, worked out once for each configuration."""

from collections.abc import Mapping
from dataclasses import dataclass

from llama_swap.config import Config, Model, PeerModel
from llama_swap.proxy.body import BodyRules
from llama_swap.scheduler.events import NO_TERMS, Terms


@dataclass(frozen=True, slots=True)
class Destination:
    """What serves a request.

    Attributes:
        served_by: a local model, or one of a peer.
        name: under which it goes on: what the client sent, or what a pin or selector stands for, or a peer's own name.
        renamed: ``name`` is not what the client sent, so the request must be rewritten.
        counted_as: the ID of a local model, or a peer's name and its model's.
        model_name: the model name for the upstream where it differs from what the client sent.
        rules: what is changed in a body; setParamsByID goes by the name the client used, or was pinned to.
        metadata: of its rows, where there is anything to say (llama-swap v250, activity rows).
    """

    served_by: Model | PeerModel
    name: str
    renamed: bool
    counted_as: str
    model_name: str | None
    rules: BodyRules
    metadata: Mapping[str, str]


def local_destination(config: Config, model: Model, name: str, requested: str) -> Destination:
    """A model of ours.

    Args:
        config: that the model is of.
        model: what serves.
        name: by which it was found.
        requested: what the client sent.
    """
    renamed = name != requested
    model_name = model.use_model_name or (name if renamed else None)
    filters = model.filters
    rules = BodyRules(model_name, filters.strip_params, filters.set_params, filters.set_params_by_id.get(name, {}))
    priority = config.scheduler.models[model.id].priority
    metadata = {"fifo_priority": str(priority)} if priority else {}
    return Destination(model, name, renamed, model.id, model_name, rules, metadata)


def peer_destination(found: PeerModel, requested: str) -> Destination:
    """A peer's model, which goes by the peer's name of it; how urgent it is the peer decides."""
    name, filters = found.model, found.peer.filters
    model_name = name if name != requested else None
    rules = BodyRules(model_name, filters.strip_params, filters.set_params, filters.set_params_by_id.get(name, {}))
    return Destination(found, name, name != requested, found.qualified, model_name, rules, {})


def row_metadata(selector: str, destination: Destination) -> Mapping[str, str]:
    """What chose the model and how urgent it is, where there is anything to say."""
    return {"selector": selector, **destination.metadata} if selector else destination.metadata


class Directory:
    """The names and keys of one configuration.

    Attributes:
        config: whose they are.
        destinations: by every name that stands for one destination when a client sends it, so without selectors.
        keys: the API keys in bytes.
        terms: by API key, where one gives a name or a priority.
        allowed_hosts: lower case.
    """

    __slots__ = ("allowed_hosts", "config", "destinations", "keys", "terms")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.keys = tuple(key.encode() for key in config.api_keys)
        self.terms = {key: Terms(caller=each.name, priority=each.priority) for key, each in config.api_callers.items()}
        self.allowed_hosts = frozenset(host.lower() for host in config.allowed_hosts)
        peers = {name: peer_destination(found, name) for name, found in config.peer_names.items()}
        models = {name: local_destination(config, config.models[id_], name, name) for name, id_ in config.names.items()}
        found = {**peers, **models}
        self.destinations = {name: each for name, each in found.items() if name not in config.selectors}

    def terms_of(self, key: str) -> Terms:
        """Whose requests with this key are, and how urgent."""
        return self.terms.get(key, NO_TERMS)


class Desk:
    """Has the directory that was made last; None before the first."""

    __slots__ = ("directory",)

    def __init__(self) -> None:
        self.directory: Directory | None = None

    def renew(self, config: Config) -> Directory:
        """Put the directory of another configuration there."""
        self.directory = Directory(config)
        return self.directory
