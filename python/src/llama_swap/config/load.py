"""From files to a configuration (a first version for simple files; the whole pipeline follows)."""

import dataclasses
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from llama_swap.config.ports import PortBook
from llama_swap.config.problems import ConfigError, Problem
from llama_swap.config.values import Config, Filters, Model, Timeouts
from llama_swap.scheduler.spec import GroupSpec, ModelSpec, SchedulerSpec


def config_sources(config: Path | None, config_dir: Path | None) -> tuple[Path, ...]:
    """The files to read, in order."""
    found = [] if config is None else [config]
    if config_dir is not None:
        found += sorted(path for path in config_dir.iterdir() if path.suffix in {".yml", ".yaml"})
    if not found:
        raise ConfigError([Problem(None, 0, "", None, "no configuration sources found")])
    return tuple(found)


def load_config(
    sources: Sequence[Path], *, env: Mapping[str, str], ports: PortBook, allow_missing_env: bool = False
) -> Config:
    """Read, check and compile the sources."""
    data: dict[str, Any] = {}
    for source in sources:
        data |= yaml.safe_load(source.read_text()) or {}
    start = data.get("startPort", 5800)
    raw = data.get("models") or {}
    models = {}
    for model_id in sorted(raw):
        port = ports.port_for(model_id, start) if "${PORT}" in raw[model_id].get("cmd", "") else None
        models[model_id] = _model(data, model_id, port)
    specs = {
        m.id: ModelSpec(
            m.id,
            m.fingerprint,
            m.ttl_seconds,
            m.health_check_timeout_seconds,
            m.unload_timeout_seconds,
            m.concurrency_limit,
        )
        for m in models.values()
    }
    groups = tuple(
        GroupSpec(
            name,
            tuple(group.get("members", ())),
            group.get("swap", True),
            group.get("exclusive", True),
            group.get("persistent", False),
        )
        for name, group in (data.get("groups") or {}).items()
    )
    return Config(
        models=models,
        names={name: m.id for m in models.values() for name in (m.id, *m.aliases)},
        scheduler=SchedulerSpec(specs, groups),
        api_keys=tuple(data.get("apiKeys") or ()),
        preload=tuple(data.get("hooks", {}).get("on_startup", {}).get("preload", ())),
        log_level=data.get("logLevel", "info"),
        log_time_format=data.get("logTimeFormat", ""),
        log_to_stdout=data.get("logToStdout", "proxy"),
        ignore_paths=(re.compile(r"\.(js|json|css|png|gif|jpg|jpeg|ico|txt)$"),),
        include_aliases_in_list=data.get("includeAliasesInList", False),
        allowed_hosts=tuple(data.get("allowedHosts") or ()),
        max_body_bytes=data.get("maxBodySize", 0),
        start_port=start,
        sources=tuple(sources),
        warnings=(),
        env_names=frozenset(),
        bind=lambda model_id, port: _model(data, model_id, port),
    )


def _model(data: dict[str, Any], model_id: str, port: int | None) -> Model:
    raw = data["models"][model_id]
    command = raw.get("cmd", "").replace("${PORT}", str(port))
    argv = tuple(shlex.split(command))
    proxy = raw.get("proxy", "http://localhost:${PORT}").replace("${PORT}", str(port))
    filters = raw.get("filters") or {}
    return Model(
        id=model_id,
        argv=argv,
        command=command,
        redacted_command=command,
        stop_argv=tuple(shlex.split(raw["cmdStop"])) if raw.get("cmdStop") else None,
        proxy=proxy,
        port=port,
        check_endpoint=None if raw.get("checkEndpoint") == "none" else raw.get("checkEndpoint", "/health"),
        env=tuple(tuple(item.split("=", 1)) for item in raw.get("env") or ()),
        ttl_seconds=raw.get("ttl", data.get("globalTTL", 0)),
        unload_timeout_seconds=raw.get("unloadTimeout", data.get("unloadTimeout", 10)),
        health_check_timeout_seconds=raw.get("healthCheckTimeout", data.get("healthCheckTimeout", 120)),
        aliases=tuple(raw.get("aliases") or ()),
        name=raw.get("name", ""),
        description=raw.get("description", ""),
        unlisted=raw.get("unlisted", False),
        use_model_name=raw.get("useModelName", ""),
        concurrency_limit=raw.get("concurrencyLimit", 0),
        metadata=raw.get("metadata") or {},
        capabilities=None,
        timeouts=Timeouts(),
        filters=Filters(
            tuple(filter(None, filters.get("stripParams", "").split(","))),
            filters.get("setParams") or {},
            filters.get("setParamsByID") or {},
        ),
        fingerprint=hashlib.sha256(repr(raw).encode()).hexdigest(),
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file."""
    return {}


def render_check(config: Config, *, redact_env: Mapping[str, str]) -> str:
    """What `llama-swap check` prints for a good configuration."""
    return "ok\n" + "\n".join(str(dataclasses.asdict(m)["id"]) for m in config.models.values())
