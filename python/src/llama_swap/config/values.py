"""The configuration as the service uses it: plain frozen data, every default filled in, every name resolved."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from llama_swap.config.names import nearest_name
from llama_swap.config.problems import Problem
from llama_swap.scheduler.spec import SchedulerSpec


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step of a request to an upstream may take, in seconds; 0 is no limit.

    Attributes:
        response_header_seconds: from the end of the request to the first byte of the answer.
        idle_conn_seconds: how long an unused connection is kept.
    """

    connect_seconds: float = 30.0
    response_header_seconds: float = 0.0
    tls_handshake_seconds: float = 10.0
    idle_conn_seconds: float = 90.0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do, for the list of models.

    Attributes:
        inputs: of ``text``, ``audio``, ``image``.
        outputs: of the same.
        tools: it can call functions.
        reranker: it ranks documents.
        context: tokens; 0 is unknown.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    tools: bool = False
    reranker: bool = False
    context: int = 0


@dataclass(frozen=True, slots=True)
class Filters:
    """Changes to a JSON request body, in this order: strip, set, set by the name that the client sent.

    Attributes:
        strip_params: paths to remove; never ``model``.
        set_params: path -> JSON value; a dot in a path addresses a nested field (llama-swap uses sjson paths).
        set_params_by_id: requested name -> the same.
    """

    strip_params: tuple[str, ...] = ()
    set_params: Mapping[str, Any] = field(default_factory=dict)
    set_params_by_id: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Profile:
    """Names that mean something else while the profile is active; applied once, so pins do not chain.

    Attributes:
        pins: requested name -> model, alias, selector or model of a peer, as written; None switches the name off.
    """

    description: str
    pins: Mapping[str, str | None]


class Strategy(StrEnum):
    """How a selector chooses one of its targets."""

    PIN = "pin"
    WARM = "warm"
    SPILLOVER = "spillover"


@dataclass(frozen=True, slots=True)
class Selector:
    """A name that stands for one of several models, chosen for every request.

    Attributes:
        targets: models, aliases or models of peers, as written; those of ``warm`` are local.
        spillover: requests that an active target gets before the next one is started.
        metadata: anything, for the list of models.
    """

    strategy: Strategy
    targets: tuple[str, ...]
    spillover: int = 1
    name: str = ""
    description: str = ""
    unlisted: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server with models of its own.

    Attributes:
        base_url: the path of a request is appended to it; without a slash at its end.
        api_key: sent instead of what the client sent; None when the peer is to get no key at all.
        models: as the peer calls them, each once, in the order of the file.
    """

    id: str
    base_url: str
    api_key: str | None = field(repr=False)
    models: tuple[str, ...]
    filters: Filters
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class PeerModel:
    """A model of a peer, found by its fully qualified or its bare name.

    Attributes:
        model: as the peer calls it.
    """

    peer: Peer
    model: str

    @property
    def qualified(self) -> str:
        """``PEER/MODEL``; both may have slashes of their own, so it cannot be taken apart again."""
        return f"{self.peer.id}/{self.model}"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends requests, by API key.

    Attributes:
        name: as configured, else made from the place of the key; callers of one name share their part of the service.
        priority: added to that of the model.
    """

    name: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """One model with every default and macro resolved.

    Attributes:
        argv: the command, split; empty when there is none, which is an error at start and not before.
        command: the whole command as text, with the values of environment macros in it.
        redacted_command: the same for people: ``${env.X}`` unresolved and the values of secret flags hidden.
        stop_argv: ``cmdStop``, split, with ``${PID}`` still inside; None for SIGTERM.
        proxy: base URL of the upstream.
        port: what ``${PORT}`` became; None when the command does not use it.
        check_endpoint: path that answers 200 when the upstream is ready; None when it is not to be asked.
        env: what to add to our own environment, in order.
        ttl_seconds: idle time after which it is unloaded; 0 is never.
        unload_timeout_seconds: from the request to stop to SIGKILL.
        health_check_timeout_seconds: from start to ready.
        aliases: other names, those of ``setParamsByID`` included.
        use_model_name: the name the upstream is told instead of the requested one; empty for no change.
        concurrency_limit: waiting and served requests at once; 0 is no limit.
        fingerprint: changes when the process would be started or reached differently, whatever its port.
        send_loading_state: waiting clients of streamed chats are told how loading goes.
        ignore_websockets: WebSockets neither load the model nor count as requests.
        vram_bytes: declared need over all devices; 0 is a model that uses none, None is not declared.
        vram_by_device: the same by number or UUID of a device, where declared so; else {}.
        ram_bytes: declared need of the machine's memory; None is not declared.
        pin: neither evicted nor unloaded for being idle.
        evict_cost: in seconds; None is learned.
        devices: the only ones its command can use, as :func:`llama_swap.config.devices.devices_of` tells: None takes
            what it sees, () uses none, ("*",) any of them by its own choice.
    """

    id: str
    argv: tuple[str, ...]
    command: str
    redacted_command: str
    stop_argv: tuple[str, ...] | None
    proxy: str
    port: int | None
    check_endpoint: str | None
    env: tuple[tuple[str, str], ...]
    ttl_seconds: float
    unload_timeout_seconds: float
    health_check_timeout_seconds: float
    aliases: tuple[str, ...]
    name: str
    description: str
    unlisted: bool
    use_model_name: str
    concurrency_limit: int
    metadata: Mapping[str, Any]
    capabilities: Capabilities | None
    timeouts: Timeouts
    filters: Filters
    fingerprint: str
    send_loading_state: bool = False
    ignore_websockets: bool = False
    vram_bytes: int | None = None
    vram_by_device: Mapping[str, int] = field(default_factory=dict)
    ram_bytes: int | None = None
    pin: bool = False
    evict_cost: float | None = None
    devices: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole configuration that passed every check.

    Attributes:
        models: by ID, sorted.
        names: every accepted name (ID, alias, key of ``setParamsByID``) -> model ID.
        preload: model IDs to load at start, in order.
        log_level: debug, info, warn or error.
        log_time_format: a name of llama-swap's, lower case; empty for no time.
        log_to_stdout: proxy, upstream, both or none.
        ignore_paths: search (not match) these in a path below ``/upstream/MODEL``; they never load a model.
        max_body_bytes: of a request; 0 is no limit.
        profiles: by name, in the order of the file.
        selectors: by name.
        peers: by ID.
        peer_names: fully qualified name, or bare name if only one peer has it -> the model of a peer.
        store_path: SQLite file for finished requests; None keeps them in memory.
        store_max_rows: to keep in that file; 0 is all.
        store_max_age_days: 0 is for ever.
        metrics_max_in_memory: finished requests to remember where there is no file.
        capture_buffer_bytes: for whole requests and answers; 0 captures none.
        performance_every_seconds: between two looks at the machine.
        session_id_headers: that may name a session, as written; the first that is found counts.
        api_callers: API key -> whose it is; exactly the keys of ``api_keys``.
        keep_alive_honoured: what requests say about how long models stay loaded is done.
        keep_alive_max_seconds: the longest they may say; 0 is no limit.
        fit_learned_path: the file of what models were seen to take; None keeps it in memory. Unless it was given, its
            directory may be missing.
        ask_llama_cpp: ``llama-fit-params`` is asked what models need.
        env_names: the environment variables the configuration refers to.
        bind: renders a model with another port; use :meth:`rebind`.
    """

    models: Mapping[str, Model]
    names: Mapping[str, str]
    scheduler: SchedulerSpec
    api_keys: tuple[str, ...]
    preload: tuple[str, ...]
    log_level: str
    log_time_format: str
    log_to_stdout: str
    ignore_paths: tuple[re.Pattern[str], ...]
    include_aliases_in_list: bool
    allowed_hosts: tuple[str, ...]
    max_body_bytes: int
    start_port: int
    sources: tuple[Path, ...]
    warnings: tuple[Problem, ...]
    env_names: frozenset[str]
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    selectors: Mapping[str, Selector] = field(default_factory=dict)
    peers: Mapping[str, Peer] = field(default_factory=dict)
    peer_names: Mapping[str, PeerModel] = field(default_factory=dict)
    store_path: Path | None = None
    store_max_rows: int = 0
    store_max_age_days: int = 0
    metrics_max_in_memory: int = 1000
    capture_buffer_bytes: int = 0
    performance_enabled: bool = True
    performance_every_seconds: float = 5.0
    session_id_headers: tuple[str, ...] = ("X-Session-ID", "X-Litellm-Session-Id")
    api_callers: Mapping[str, Caller] = field(default_factory=dict, repr=False)
    keep_alive_honoured: bool = True
    keep_alive_max_seconds: float = 0.0
    fit_learned_path: Path | None = None
    ask_llama_cpp: bool = True
    bind: Callable[[str, int], Model] = field(repr=False, compare=False)

    def find(self, name: str) -> Model | None:
        """The model that answers to this name, or None."""
        model_id = self.names.get(name)
        return None if model_id is None else self.models[model_id]

    def find_peer_model(self, name: str) -> PeerModel | None:
        """The model of a peer that answers to this name, or None; local models go first, so ask :meth:`find` before."""
        return self.peer_names.get(name)

    def nearest(self, name: str) -> str | None:
        """The accepted name most like an unknown one, or None if none is alike."""
        return nearest_name(name, [*self.names, *self.selectors, *self.peer_names])

    def rebind(self, model_id: str, port: int) -> Model:
        """The same model with another ``${PORT}``; unchanged if its command uses none.

        Raises:
            KeyError: there is no model with this ID.
        """
        return self.bind(model_id, port)
