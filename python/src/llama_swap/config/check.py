"""The text of ``llama-swap check`` for a configuration that is right."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from llama_swap.config.devices import EVERY_DEVICE
from llama_swap.config.redact import HIDDEN, looks_secret, redact_argv
from llama_swap.config.sizes import DeviceMemory, render_bytes, render_device_memory
from llama_swap.config.values import Config, Model, Strategy
from llama_swap.scheduler.spec import MatrixSpec, SchedulerSpec

SHORTEST_SECRET = 6
"""Characters of a value that is hidden wherever it appears; shorter ones appear by chance."""


_USER = re.compile(r"//[^/@]*@")


def render_check(config: Config, *, redact_env: Mapping[str, str]) -> str:
    """The word "ok", tables of the models and of what else has a name, the commands, the warnings; nothing secret.

    Args:
        config: what was loaded.
        redact_env: the environment it was loaded with; values that the configuration uses are hidden.
    """
    parts = [_headline(config)]
    if config.models:
        parts.append(_models(config))
        parts += [_without_secrets(_details(model), config, redact_env) for model in config.models.values()]
    parts += [_without_secrets(part, config, redact_env) for part in _tables(config)]
    parts += [f"warning: {problem}" for problem in config.warnings]
    return "\n\n".join(parts) + "\n"


def _tables(config: Config) -> Iterator[str]:
    """What else has a name, each kind with a table of its own, and what is remembered of requests."""
    if config.models:
        yield _router(config)
    if config.scheduler.groups:
        yield _groups(config)
    if config.scheduler.matrix is not None:
        yield _matrix(config.scheduler.matrix)
    if config.selectors:
        yield _selectors(config)
    if config.profiles:
        yield _profiles(config)
    if config.peers:
        yield _peers(config)
    if kept := _kept(config):
        yield kept


def _headline(config: Config) -> str:
    files = ", ".join(map(str, config.sources))
    count = len(config.models)
    keys = f", API keys: {len(config.api_keys)}" if config.api_keys else ""
    return f"ok: {files}: {count} model{'s' * (count != 1)}{keys}"


def _columns(*rows: Sequence[str]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _models(config: Config) -> str:
    groups = {member: group.name for group in config.scheduler.groups for member in group.members}
    rows = [("MODEL", "PORT", "TTL", "GROUP", "ALIASES")]
    for model in config.models.values():
        ttl = f"{model.ttl_seconds:g}s" if model.ttl_seconds else "never"
        port = str(model.port) if model.port is not None else "-"
        rows.append((model.id, port, ttl, groups.get(model.id, "-"), ", ".join(model.aliases) or "-"))
    return _columns(*rows)


def _router(config: Config) -> str:
    """Who decides which models run together, with what it goes by, and what is left to other programs."""
    spec = config.scheduler
    lines = [f"router: {_decider(spec)}"]
    if spec.fit is not None:
        device, host = render_bytes(spec.fit.headroom_bytes), render_bytes(spec.fit.host_headroom_bytes)
        lines += [
            f"stays free: {device} of each device, {host} of the machine",
            f"what models took is kept in: {config.fit_learned_path or 'memory only'}",
        ]
    else:
        fit_only = [model.id for model in config.models.values() if _has_fit_keys(model)]
        if fit_only:
            lines.append(f"note: vram, ram and evictCost mean nothing to this router: {', '.join(fit_only)}")
    if spec.yielding.free_below_bytes:
        lines.append(f"yields a device when others leave less than {render_bytes(spec.yielding.free_below_bytes)} free")
    return "\n".join(lines)


def _decider(spec: SchedulerSpec) -> str:
    if spec.fit is None:
        return "matrix" if spec.matrix is not None else "group"
    return "fit where devices can be measured, else one model at a time" if spec.fit.when_measured else "fit"


def _has_fit_keys(model: Model) -> bool:
    return any(value is not None for value in (model.vram_bytes, model.ram_bytes, model.evict_cost))


def _groups(config: Config) -> str:
    rows: list[tuple[str, ...]] = [("GROUP", "SWAP", "EXCLUSIVE", "PERSISTENT", "MEMBERS")]
    for group in config.scheduler.groups:
        flags = ("yes" if flag else "no" for flag in (group.swap, group.exclusive, group.persistent))
        rows.append((group.name, *flags, ", ".join(group.members) or "-"))
    return _columns(*rows)


def _matrix(matrix: MatrixSpec) -> str:
    lines = [
        _columns(("SET", "MAY RUN TOGETHER"), *((name, " ".join(text.split())) for name, text in matrix.sets.items()))
    ]
    if matrix.vars:
        lines.append("  names: " + ", ".join(f"{name} = {model}" for name, model in matrix.vars.items()))
    if matrix.evict_costs:
        lines.append("  costs to stop: " + ", ".join(f"{name} {cost}" for name, cost in matrix.evict_costs.items()))
    lines.append(f"  among equally cheap sets: {matrix.tie_break}")
    return "\n".join(lines)


def _selectors(config: Config) -> str:
    rows = [("SELECTOR", "STRATEGY", "TARGETS")]
    for name, selector in config.selectors.items():
        each = f" ({selector.spillover} each)" if selector.strategy is Strategy.SPILLOVER else ""
        rows.append((name, f"{selector.strategy}{each}", ", ".join(selector.targets)))
    return _columns(*rows)


def _profiles(config: Config) -> str:
    rows = [("PROFILE", "PINS")]
    for name, profile in config.profiles.items():
        pins = (f"{pin} -> {'(off)' if target is None else target}" for pin, target in profile.pins.items())
        rows.append((name, ", ".join(pins)))
    return _columns(*rows)


def _peers(config: Config) -> str:
    rows = [("PEER", "URL", "KEY", "MODELS")]
    for peer in config.peers.values():
        key = "none" if peer.api_key is None else "own"
        rows.append((peer.id, _USER.sub("//", peer.base_url), key, ", ".join(peer.models)))
    return _columns(*rows)


def _kept(config: Config) -> str:
    lines = [f"requests are kept in: {config.store_path}"] if config.store_path is not None else []
    if config.capture_buffer_bytes:
        lines.append(f"whole requests and answers are kept in memory: {config.capture_buffer_bytes >> 20} MB")
    return "\n".join(lines)


def _details(model: Model) -> str:
    lines = [
        f"{model.id}:",
        f"  command: {model.redacted_command or '(none)'}",
        f"  proxy: {_USER.sub('//', model.proxy)}",
    ]
    if model.stop_argv is not None:
        lines.append(f"  stop: {shlex.join(redact_argv(model.stop_argv))}")
    if model.env:
        shown = (f"{name}={HIDDEN if looks_secret(name) else value}" for name, value in model.env)
        lines.append("  env: " + " ".join(shown))
    if memory := ", ".join(_memory(model)):
        lines.append(f"  memory: {memory}")
    return "\n".join(lines)


def _memory(model: Model) -> Iterator[str]:
    """What is declared of its memory, and which devices its command names."""
    if model.vram_bytes is not None:
        yield f"vram {render_device_memory(DeviceMemory(model.vram_bytes, model.vram_by_device))}"
    if model.ram_bytes is not None:
        yield f"ram {render_bytes(model.ram_bytes)}"
    if model.pin:
        yield "pinned"
    if model.evict_cost is not None:
        yield f"evict cost {model.evict_cost:g}"
    if model.devices is not None:
        named = " ".join(model.devices) or "none"
        yield "devices by its own choice" if model.devices == EVERY_DEVICE else f"devices {named}"


def _without_secrets(text: str, config: Config, env: Mapping[str, str]) -> str:
    """The text without API keys and without what came from the environment, wherever they stand."""
    used = (env[name] for name in config.env_names if name in env)
    peers = (peer.api_key for peer in config.peers.values() if peer.api_key is not None)
    for secret in sorted((*config.api_keys, *peers, *used), key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    return text
