"""A checked file to the values that the service and the scheduler use."""

import hashlib
import json
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from llama_swap.config.argv import drop_comments, fill_env, split_command
from llama_swap.config.devices import AS_THE_DRIVER, ORDER, counts_devices, devices_of
from llama_swap.config.expand import fill_port
from llama_swap.config.redact import redact_argv
from llama_swap.config.rules import compile_pattern
from llama_swap.config.rules_routing import Router, groups_in_force, matrix_in_force, matrix_spec, router_in_force
from llama_swap.config.schema import ConfigFile
from llama_swap.config.schema_model import FiltersSection, ModelSection, TimeoutsSection
from llama_swap.config.schema_routing import FifoSection
from llama_swap.config.schema_service import YieldSection
from llama_swap.config.tree import Node, plain_data
from llama_swap.config.values import Caller, Capabilities, Filters, Model, Timeouts
from llama_swap.scheduler.spec import (
    FitSpec,
    GroupSpec,
    Limits,
    ModelSpec,
    SchedulerSpec,
    WhileYielded,
    YieldSpec,
)

DEFAULT_HEALTH_CHECK_SECONDS = 120.0
DEFAULT_UNLOAD_SECONDS = 10.0
COMFYUI = "comfyui_auto"
"""The model behind ``/comfyui/``: its page asks for many things at once and keeps a WebSocket open (llama-swap)."""
COMFYUI_REQUESTS = 50
DEFAULT_IGNORED = r"\.(?:js|json|css|png|gif|jpg|jpeg|ico|txt)$"
"""Paths that a browser asks for by itself; llama-swap's default for ``upstream.ignorePaths``."""


@dataclass(frozen=True, slots=True)
class Blueprints:
    """Every model before it has a port.

    Attributes:
        nodes: expanded and checked, with ``${PORT}`` and the environment macros of commands still in.
        port_users: the models whose command uses ``${PORT}``.
    """

    file: ConfigFile
    nodes: Mapping[str, Node]
    port_users: frozenset[str]
    env: Mapping[str, str]

    def model(self, model_id: str, port: int) -> Model:
        """The model with this port; without any, if its command uses none."""
        used = port if model_id in self.port_users else None
        section = _section(self.nodes[model_id], port)
        filters = request_filters(section.filters)
        own_argv, own_text = _command(section.cmd, self.env)
        devices, own_env = self._surroundings(section)
        return Model(
            id=model_id,
            argv=own_argv,
            command=own_text,
            redacted_command=shlex.join(redact_argv(_command(section.cmd, {})[0])),
            stop_argv=_command(section.cmd_stop, self.env)[0] or None,
            proxy=section.proxy,
            port=used,
            check_endpoint=_endpoint(section.check_endpoint),
            env=own_env,
            ttl_seconds=self.file.global_ttl if section.ttl < 0 else section.ttl,
            unload_timeout_seconds=section.unload_timeout or self.file.unload_timeout or DEFAULT_UNLOAD_SECONDS,
            health_check_timeout_seconds=(
                section.health_check_timeout or self.file.health_check_timeout or DEFAULT_HEALTH_CHECK_SECONDS
            ),
            aliases=tuple(
                name for name in dict.fromkeys((*section.aliases, *filters.set_params_by_id)) if name != model_id
            ),
            name=section.name.strip(),
            description=section.description.strip(),
            unlisted=section.unlisted,
            use_model_name=section.use_model_name,
            concurrency_limit=_concurrency_limit(model_id, section.concurrency_limit),
            metadata=section.metadata,
            capabilities=_capabilities(section),
            timeouts=request_timeouts(section.timeouts),
            filters=filters,
            fingerprint=self._fingerprint(model_id),
            send_loading_state=(
                self.file.send_loading_state if section.send_loading_state is None else section.send_loading_state
            ),
            ignore_websockets=section.compat.ignore_websockets or model_id == COMFYUI,
            vram_bytes=None if section.vram is None else section.vram.total_bytes,
            vram_by_device={} if section.vram is None else section.vram.by_device,
            ram_bytes=section.ram,
            pin=section.pin,
            evict_cost=section.evict_cost,
            devices=devices,
        )

    def _surroundings(self, section: ModelSection) -> tuple[tuple[str, ...] | None, tuple[tuple[str, str], ...]]:
        """The devices that the command names, and the variables it gets besides ours.

        Where memory decides, a number has to mean the device that is measured under it.
        """
        own_env = tuple((name, value) for name, _, value in (entry.partition("=") for entry in section.env))
        env = {**self.env, **dict(own_env)}
        devices = devices_of(_command(section.cmd, self.env)[0], env)
        if counts_devices(devices) and ORDER not in env and _fit(self.file) is not None:
            own_env = (*own_env, (ORDER, AS_THE_DRIVER))
        return devices, own_env

    def _fingerprint(self, model_id: str) -> str:
        """Hash of what starts and reaches the process; a new port alone must not restart a model that runs."""
        section = _section(self.nodes[model_id], 0)
        started = [
            _command(section.cmd, self.env)[0],
            _command(section.cmd_stop, self.env)[0],
            self._surroundings(section)[1],
            section.proxy,
            _endpoint(section.check_endpoint),
            self.file.start_port if model_id in self.port_users else None,
        ]
        return hashlib.sha256(json.dumps(started).encode()).hexdigest()


def _concurrency_limit(model_id: str, limit: int) -> int:
    if limit <= 0:
        return 0
    return max(limit, COMFYUI_REQUESTS) if model_id == COMFYUI else limit


def _section(node: Node, port: int) -> ModelSection:
    data = plain_data(fill_port(node, port))
    return ModelSection.model_validate(data if isinstance(data, dict) else {})


def _command(command: str | tuple[str, ...], env: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    """The arguments and the text of a command, with these values for its environment macros."""
    if isinstance(command, tuple):
        argv = tuple(fill_env(argument, env) for argument in command)
        return argv, shlex.join(argv)
    return split_command(command, env), fill_env(drop_comments(command), env).strip()


def _endpoint(endpoint: str) -> str | None:
    if endpoint == "none":
        return None
    return endpoint if endpoint.startswith("/") else f"/{endpoint}"


def request_filters(section: FiltersSection) -> Filters:
    """The changes to a request body; ``model`` is never one of them."""
    names = (name.strip() for name in (section.strip_params or section.strip_params_legacy).split(","))
    return Filters(
        strip_params=tuple(dict.fromkeys(name for name in names if name not in {"", "model"})),
        set_params=_without_model(section.set_params),
        set_params_by_id={name: _without_model(params) for name, params in section.set_params_by_id.items()},
    )


def _without_model(params: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in params.items() if name != "model"}


def _capabilities(section: ModelSection) -> Capabilities | None:
    given = section.capabilities
    found = Capabilities(tuple(given.inputs), tuple(given.outputs), given.tools, given.reranker, given.context)
    return None if found == Capabilities() else found


def request_timeouts(given: TimeoutsSection) -> Timeouts:
    """The limits on each step of a request."""
    return Timeouts(
        connect_seconds=given.connect,
        response_header_seconds=given.response_header,
        tls_handshake_seconds=given.tls_handshake,
        idle_conn_seconds=given.idle_conn,
    )


def compile_scheduler(
    file: ConfigFile, models: Mapping[str, Model], names: Mapping[str, str], callers: Collection[Caller]
) -> SchedulerSpec:
    """What the scheduler is told about the models, the groups and the bounds on waiting."""
    fifo = file.routing.scheduler.settings.fifo
    priorities = {names[name]: priority for name, priority in fifo.priority.items()}
    specs = {
        model.id: ModelSpec(
            model=model.id,
            fingerprint=model.fingerprint,
            ttl_seconds=model.ttl_seconds,
            start_timeout_seconds=model.health_check_timeout_seconds,
            stop_grace_seconds=model.unload_timeout_seconds,
            concurrency_limit=model.concurrency_limit,
            priority=priorities.get(model.id, 0),
            pin=model.pin,
            evict_cost=model.evict_cost,
            devices=model.devices,
        )
        for model in models.values()
    }
    groups = tuple(
        GroupSpec(name, tuple(group.members), group.swap, group.exclusive, group.persistent)
        for name, group in groups_in_force(file)[0].items()
    )
    matrix = matrix_in_force(file)
    return SchedulerSpec(
        models=specs,
        groups=groups,
        limits=_limits(fifo, {caller.name for caller in callers}),
        matrix=None if matrix is None else matrix_spec(matrix[0]),
        fit=_fit(file),
        yielding=_yielding(file.yielding),
        release_timeout_seconds=file.routing.router.settings.fit.release_timeout,
    )


def _fit(file: ConfigFile) -> FitSpec | None:
    section = file.routing.router.settings.fit
    if router_in_force(file) not in {Router.AUTO, Router.FIT}:
        return None
    return FitSpec(
        when_measured=router_in_force(file) is Router.AUTO,
        headroom_bytes=section.headroom,
        host_headroom_bytes=section.host_headroom,
        min_residency_seconds=section.min_residency,
        read_ahead=section.read_ahead,
    )


def _yielding(section: YieldSection) -> YieldSpec:
    return YieldSpec(
        free_below_bytes=section.free_below,
        drain_seconds=section.drain,
        return_after_seconds=section.return_after,
        requests=WhileYielded(section.requests),
    )


def _limits(fifo: FifoSection, callers: Collection[str]) -> Limits:
    return Limits(
        max_wait_seconds=fifo.max_wait,
        queue_limit=fifo.queue_limit,
        queue_timeout_seconds=fifo.queue_timeout,
        backoff_after_failures=fifo.backoff_after_failures,
        backoff_first_seconds=fifo.backoff_first,
        backoff_max_seconds=fifo.backoff_max,
        # One caller has no others to be fair to, so nobody keeps an account of each request.
        fair_share_seconds=fifo.fair_share if len(callers) > 1 else 0.0,
    )


def ignored_paths(file: ConfigFile) -> tuple[re.Pattern[str], ...]:
    """The patterns of ``upstream.ignorePaths``, or the default."""
    return tuple(compile_pattern(pattern) for pattern in file.upstream.ignore_paths or [DEFAULT_IGNORED])
