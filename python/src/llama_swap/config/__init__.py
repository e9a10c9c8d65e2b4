"""YAML to what the service uses: sources are read, merged, expanded, checked and compiled into frozen values."""

from llama_swap.config.check import render_check
from llama_swap.config.load import load_config
from llama_swap.config.merge import config_sources
from llama_swap.config.ports import PortBook, port_is_free
from llama_swap.config.problems import ConfigError, Problem
from llama_swap.config.schema import json_schema
from llama_swap.config.values import (
    Caller,
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

__all__ = [
    "Caller",
    "Capabilities",
    "Config",
    "ConfigError",
    "Filters",
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
