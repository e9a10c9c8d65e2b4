"""Amounts of memory: how they are written, and how they are shown."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from llama_swap.config.leaves import broken
from llama_swap.config.tree import Scalar

LEAST_BYTES = 1 << 20
"""A smaller amount that is not 0 is a number whose unit was forgotten."""

MOST_BYTES = 1 << 50
"""A larger amount is a mistake: no machine has a PiB of memory."""

_MANY = 1024
"""So many GiB nobody means; MiB are."""

_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(?:([KMGT])(i?)B)", re.IGNORECASE)
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)", re.IGNORECASE)
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}
_FORMS = 'bytes or a text like "18GiB" (2^30) or "18GB" (10^9)'
_DEVICE = re.compile(r"[0-9]{1,3}|(?:GPU|MIG)-[0-9A-Za-z/-]{4,64}")
_AMOUNT_SCHEMA: list[dict[str, Any]] = [
    {"type": "integer", "minimum": 0, "maximum": MOST_BYTES},
    {"type": "string", "pattern": r"^[0-9.]+\s*[kKmMgGtT]i?[bB]$|\$\{[^}]+\}"},
]


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory of devices.

    Attributes:
        total_bytes: over all devices.
        by_device: number or UUID of a device -> bytes, where that was said.
    """

    total_bytes: int
    by_device: Mapping[str, int] = field(default_factory=dict)


def _amount(raw: Any) -> int:
    value = raw.value if isinstance(raw, Scalar) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return _sensible(value)
    found = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise broken(f"must be {_FORMS}", _meant(value))
    return _sensible(int(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].upper()]))


def _sensible(amount: int) -> int:
    if amount < 0:
        raise broken("must be at least 0")
    if 0 < amount < LEAST_BYTES:
        unit = "GiB" if amount < _MANY else "MiB"
        raise broken(f"{amount} bytes are too few to be meant", f'write "{amount}{unit}", or 0')
    if amount > MOST_BYTES:
        raise broken("must be at most 1024TiB")
    return amount


def _meant(value: object) -> str:
    """What to write instead of an amount without a whole unit."""
    found = _NUMBER.fullmatch(str(value)) if isinstance(value, str | float) else None
    if found is None:
        return ""
    unit = found[2].upper() or "G"
    return f'a unit is missing: "{found[1]}{unit}iB" or "{found[1]}{unit}B"'


def _device_memory(raw: Any) -> DeviceMemory:
    if not isinstance(raw, dict):
        amount = _amount(raw)
        return DeviceMemory(amount)
    if not raw:
        raise broken("must name at least one device", "as in {0: 10GiB, 1: 8GiB}; 0 is a model that uses none")
    for device in raw:
        if not _DEVICE.fullmatch(device):
            raise broken(f"`{device}` is no device", "write its number, as in {0: 10GiB}, or its UUID (GPU-...)")
    by_device = {device: _amount_of(device, amount) for device, amount in raw.items()}
    return DeviceMemory(sum(by_device.values()), by_device)


def _amount_of(device: str, raw: Any) -> int:
    try:
        return _amount(raw)
    except PydanticCustomError as error:
        told = error.context or {}
        raise broken(f"device {device}: {told['rule']}", told["fix"]) from None


def render_bytes(amount: int) -> str:
    """The amount in the largest unit that keeps it short: ``512MiB``, ``17.2GiB``."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if amount >= 1024**power:
            return f"{amount / 1024**power:.1f}".removesuffix(".0") + unit
    return str(amount)


def render_device_memory(memory: DeviceMemory) -> str:
    """All of it, with what falls to each device where that was said."""
    parts = (f"{device}: {render_bytes(amount)}" for device, amount in memory.by_device.items())
    return f"{{{', '.join(parts)}}}" if memory.by_device else render_bytes(memory.total_bytes)


Memory = Annotated[int, BeforeValidator(_amount), WithJsonSchema({"anyOf": _AMOUNT_SCHEMA})]
Vram = Annotated[
    DeviceMemory,
    BeforeValidator(_device_memory),
    WithJsonSchema(
        {
            "anyOf": [
                *_AMOUNT_SCHEMA,
                {"type": "object", "minProperties": 1, "additionalProperties": {"anyOf": _AMOUNT_SCHEMA}},
            ]
        }
    ),
]
