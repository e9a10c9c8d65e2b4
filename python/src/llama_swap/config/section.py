"""What all sections of the configuration file have in common, and keys that are not where people write them.

To add a key: add a field with a docstring to its section, then use it in ``compile.py`` (or a file that it calls); a
rule that takes more than one key goes into one of the ``rules`` files; then ``make docs`` writes the tables anew.
"""

import ast
import inspect
from collections.abc import Mapping
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

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
        alias_generator=lambda name: name.split("_")[0] + "".join(word.title() for word in name.split("_")[1:]),
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {field.alias for field in cls.model_fields.values()}
        return {key: value for key, value in data.items() if key not in known or not _is_null(value)}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(core_schema)
        properties = handler.resolve_ref_schema(found)["properties"]
        for name, text in descriptions(cls).items():
            properties[cls.model_fields[name].alias]["description"] = text
        return found


def descriptions(section: type[Section]) -> Mapping[str, str]:
    """The docstrings below the keys of a section, by the names of their fields.

    Pydantic can read them, too (``use_attribute_docstrings``), but whenever a section is imported, which makes a load
    take a tenth longer; they are wanted for the documentation only.
    """
    found: dict[str, str] = {}
    for part in reversed(section.__mro__):
        if part is Section or not issubclass(part, Section):
            continue
        definition = ast.parse(dedent(inspect.getsource(part))).body[0]
        assert isinstance(definition, ast.ClassDef)  # noqa: S101 - what the source of a class is
        for key, below in pairwise(definition.body):
            if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name) and isinstance(below, ast.Expr):
                found[key.target.id] = inspect.cleandoc(ast.literal_eval(below.value))
    return found
