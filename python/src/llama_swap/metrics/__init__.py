"""Prometheus series, the last hour of samples, and what the machine is made of."""

from llama_swap.metrics.hardware import Hardware
from llama_swap.metrics.host import HostReader, HostSample, NetworkCount
from llama_swap.metrics.performance import PerformanceRing
from llama_swap.metrics.registry import Metrics
from llama_swap.metrics.sampler import Sampler, Sources
from llama_swap.metrics.views import ModelMemory

__all__ = [
    "Hardware",
    "HostReader",
    "HostSample",
    "Metrics",
    "ModelMemory",
    "NetworkCount",
    "PerformanceRing",
    "Sampler",
    "Sources",
]
