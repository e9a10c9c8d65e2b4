"""What a request brings with it besides the model: whose it is, how urgent, and how long its model shall stay loaded.

``keep_alive`` is Ollama's: seconds, ``"5m"``, 0 for not at all, anything negative for ever. ``ttl`` is LM Studio's word
for the same; it is read like the other, which counts where a body has both.
"""

import math
from dataclasses import replace

import msgspec

from llama_swap.api.visit import Visit
from llama_swap.config import Config, Model
from llama_swap.durations import FORMS, LONGEST_SECONDS, parse_duration
from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.body import BodyRules, ModelField

KEEP_ALIVE = "keep_alive"
TTL = "ttl"
_LONGEST_VALUE_BYTES = 128
_SHOWN_CHARACTERS = 40


def take_residency(asked: ModelField, rules: BodyRules, model: Model, visit: Visit, config: Config) -> BodyRules:
    """Note how long a request wants its model to stay, and keep that from the model's server, which would not know it.

    Returns:
        ``rules`` that also remove the keys in question; what the configuration sets (``setParams``) still goes through.

    Raises:
        RequestError: INVALID_REQUEST for a value that is no time.
    """
    if not asked.keep_alive and not asked.ttl:
        return rules
    given = {key: value for key, value in ((KEEP_ALIVE, asked.keep_alive), (TTL, asked.ttl)) if value}
    if config.keep_alive_honoured:
        # All of them are read, so that a mistake shows whichever of them counts.
        wishes = [keep_alive_seconds(key, value) for key, value in given.items()]
        seconds = next((wish for wish in wishes if wish is not None), None)
        if seconds is not None:
            visit.terms = replace(visit.terms, keep_alive_seconds=capped(seconds, model, config))
    return replace(rules, strip_params=(*given, *rules.strip_params))


def keep_alive_seconds(key: str, raw: bytes) -> float | None:
    """How long a model shall stay when idle; ``inf`` is for ever, None (from ``null``) says nothing.

    Args:
        key: what the value is called, for the error.
        raw: the value as JSON.

    Raises:
        RequestError: INVALID_REQUEST.
    """
    value = msgspec.json.decode(raw) if len(raw) <= _LONGEST_VALUE_BYTES else raw
    if value is None:
        return None
    try:
        seconds = _seconds(value)
    except ValueError:
        text = raw[: 4 * _SHOWN_CHARACTERS].decode("utf-8", "replace")
        shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
        rule = f"it must be {FORMS}; 0 unloads the model once it is idle, a negative one keeps it for ever"
        raise RequestError(Reason.INVALID_REQUEST, f"{key}: {shown} is not a time: {rule}") from None
    return math.inf if seconds < 0 else seconds


def as_in_json(text: str | None) -> bytes:
    """A form's field as if it stood in a JSON body; an empty one says nothing."""
    return b"" if text is None else msgspec.json.encode(text or None)


def _seconds(value: object) -> float:
    """Raises ValueError for what is no time."""
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LONGEST_SECONDS:
        return float(value)
    raise ValueError(value)


def capped(seconds: float, model: Model, config: Config) -> float:
    """No longer than ``keepAlive.max`` allows, or than the model's own ttl where that is longer."""
    if not config.keep_alive_max_seconds:
        return seconds
    return min(seconds, max(config.keep_alive_max_seconds, model.ttl_seconds or math.inf))
