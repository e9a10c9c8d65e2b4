"""The text of ``llama-swap check`` for a configuration that is right."""

import re
import shlex
from collections.abc import Mapping

from llama_swap.config.redact import HIDDEN, looks_secret, redact_argv
from llama_swap.config.values import Config, Model

SHORTEST_SECRET = 6
"""Characters of a value that is hidden wherever it appears; shorter ones appear by chance."""


_USER = re.compile(r"//[^/@]*@")


def render_check(config: Config, *, redact_env: Mapping[str, str]) -> str:
    """The word "ok", a table of the models, their commands, and the warnings; nothing secret.

    Args:
        config: what was loaded.
        redact_env: the environment it was loaded with; values that the configuration uses are hidden.
    """
    parts = [_headline(config)]
    if config.models:
        parts.append(_table(config))
        parts += [_without_secrets(_details(model), config, redact_env) for model in config.models.values()]
    parts += [f"warning: {problem}" for problem in config.warnings]
    return "\n\n".join(parts) + "\n"


def _headline(config: Config) -> str:
    files = ", ".join(map(str, config.sources))
    count = len(config.models)
    keys = f", API keys: {len(config.api_keys)}" if config.api_keys else ""
    return f"ok: {files}: {count} model{'s' * (count != 1)}{keys}"


def _table(config: Config) -> str:
    groups = {member: group.name for group in config.scheduler.groups for member in group.members}
    rows = [("MODEL", "PORT", "TTL", "GROUP", "ALIASES")]
    for model in config.models.values():
        ttl = f"{model.ttl_seconds:g}s" if model.ttl_seconds else "never"
        port = str(model.port) if model.port is not None else "-"
        rows.append((model.id, port, ttl, groups.get(model.id, "-"), ", ".join(model.aliases) or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


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
    return "\n".join(lines)


def _without_secrets(text: str, config: Config, env: Mapping[str, str]) -> str:
    """The text without API keys and without what came from the environment, wherever they stand."""
    used = (env[name] for name in config.env_names if name in env)
    for secret in sorted((*config.api_keys, *used), key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    return text
