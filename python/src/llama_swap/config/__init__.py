"""YAML to what the service uses: sources are read, merged, expanded, checked and compiled into frozen values.

What needs the schema (12 MB of memory and 0.2 s to import) is imported when it is asked for. The service never does:
it has its configuration read by another process (:mod:`.apart`).
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from llama_swap.config.apart import Loading
from llama_swap.config.files import config_sources
from llama_swap.config.ports import PortBook, port_is_free
from llama_swap.config.problems import ConfigError, Problem
from llama_swap.config.values import (
    Capabilities,
    Config,
    Filters,
    Model,
    Peer,
    PeerModel,
    Profile,
    Selector,
    Strategy,
    Timeouts,
)

if TYPE_CHECKING:
    from llama_swap.config.check import render_check
    from llama_swap.config.load import load_config
    from llama_swap.config.schema import json_schema

__all__ = [
    "Capabilities",
    "Config",
    "ConfigError",
    "Filters",
    "Loading",
    "Model",
    "Peer",
    "PeerModel",
    "PortBook",
    "Problem",
    "Profile",
    "Selector",
    "Strategy",
    "Timeouts",
    "config_sources",
    "json_schema",
    "load_config",
    "port_is_free",
    "render_check",
]

_WITH_SCHEMA: Final = MappingProxyType({"json_schema": "schema", "load_config": "load", "render_check": "check"})


def __getattr__(name: str) -> Any:
    if name not in _WITH_SCHEMA:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WITH_SCHEMA[name]}"), name)
