"""The page that Prometheus reads.

Imported when it is asked for the first time: the library behind it takes a megabyte of memory and a twentieth of a
start, and who has no Prometheus never asks.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from llama_swap.metrics.gauges import gauges
from llama_swap.metrics.instruments import PREFIX, Instruments
from llama_swap.metrics.moment import Moment


class _Series(Collector):
    """Some series, made when they are collected."""

    def __init__(self, make: Callable[[], Iterable[Metric]]) -> None:
        self._make = make

    def describe(self) -> Iterable[Metric]:
        """Nothing: without this the registry would collect once to learn the names."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._make()


class Page:
    """All series of the service and of its process.

    Args:
        instruments: what was counted.
        moment: asked once for every page.
    """

    def __init__(self, instruments: Instruments, moment: Callable[[], Moment]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Series(instruments.families))
        self._registry.register(_Series(lambda: gauges(moment())))
        ProcessCollector(namespace=PREFIX, registry=self._registry)

    def text(self) -> bytes:
        """In Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)
