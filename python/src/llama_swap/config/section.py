"""What all sections of the configuration file have in common, and keys that are not where people write them.

To add a key: add a field with a docstring to its section, then use it in ``compile.py`` (or a file that it calls); a
rule that takes more than one key goes into one of the ``rules`` files; then ``make docs`` writes the tables anew.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from llama_swap.config.tree import Scalar

INSTEAD: Mapping[str, Mapping[str, str]] = {
    "ConfigFile": {
        "ttl": "globalTTL",
        "preload": "hooks.on_startup.preload",
        "ignorepaths": "upstream.ignorePaths",
        "priority": "routing.scheduler.settings.fifo.priority",
        "headroom": "routing.router.settings.fit.headroom",
        "freebelow": "yield.freeBelow",
        "keep_alive": "keepAlive",
    },
    "ModelSection": {
        "globalttl": "ttl",
        "stripparams": "filters.stripParams",
        "setparams": "filters.setParams",
        "setparamsbyid": "filters.setParamsByID",
        "args": "cmd",
        "command": "cmd",
        "keep_alive": "ttl",
        "keepalive": "ttl",
        "pinned": "pin",
        "evict_cost": "evictCost",
        "vrammb": "vram",
        "memory": "vram",
        "priority": "routing.scheduler.settings.fifo.priority",
    },
    "FiltersSection": {"usemodelname": "useModelName of the model"},
}
"""Section -> a key that people write there, in lower case -> where it belongs."""


def _is_null(value: Any) -> bool:
    return isinstance(value, Scalar) and value.value is None


def empty_if_null(value: Any) -> Any:
    """For a name that is written without a value, as in ``models: {a: }``: it has only defaults."""
    return {} if _is_null(value) else value


class Section(BaseModel):
    """A mapping with known keys; a key without a value counts as absent."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        alias_generator=lambda name: name.split("_")[0] + "".join(word.title() for word in name.split("_")[1:]),
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {field.alias for field in cls.model_fields.values()}
        return {key: value for key, value in data.items() if key not in known or not _is_null(value)}
