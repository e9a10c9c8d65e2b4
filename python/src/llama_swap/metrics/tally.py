"""Counting on the event loop: a dictionary access a count, made into Prometheus families when the page is asked for.

The instruments of prometheus-client take a lock and several calls for each count, which is ten times the work; its
families, registry and text format are used as they are. Reading in another thread sees each count before or after.
The library is imported when a page is asked for (:mod:`.page`).
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

_MODEL = "model"


class Tally:
    """A counter by model and perhaps one more label.

    Args:
        name: without ``_total``.
        meaning: for people.
        label: the name of the second label; "" for none.
    """

    __slots__ = ("_counts", "_labels", "meaning", "name")

    def __init__(self, name: str, meaning: str, label: str = "") -> None:
        self.name = name
        self.meaning = meaning
        self._labels = (_MODEL, label) if label else (_MODEL,)
        self._counts: dict[tuple[str, ...], float] = {}

    def add(self, *labels: str, amount: float = 1.0) -> None:
        """Count for these labels, the model first."""
        self._counts[labels] = self._counts.get(labels, 0.0) + amount

    def keep(self, models: Collection[str]) -> None:
        """Forget all other models."""
        self._counts = {labels: count for labels, count in self._counts.items() if labels[0] in models}

    def family(self) -> "CounterMetricFamily":
        """What has been counted."""
        from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 - see above

        family = CounterMetricFamily(self.name, self.meaning, labels=self._labels)
        for labels, count in self._counts.copy().items():
            family.add_metric(labels, count)
        return family


class Distribution:
    """A histogram by model.

    Args:
        name: with its unit.
        meaning: for people.
        bounds: the upper ends of the buckets, ascending, each included in its bucket.
    """

    __slots__ = ("_bounds", "_counts", "_names", "_sums", "meaning", "name")

    def __init__(self, name: str, meaning: str, bounds: Sequence[float]) -> None:
        self.name = name
        self.meaning = meaning
        self._bounds = tuple(bounds)
        self._names = [*(str(float(bound)) for bound in bounds), "+Inf"]
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, model: str, value: float) -> None:
        """Count a value."""
        self.observe_all(model, (value,))

    def observe_all(self, model: str, values: Collection[float]) -> None:
        """Count values; many at once take little more than one."""
        if not values:
            return
        counts = self._counts.get(model)
        if counts is None:
            self._sums[model] = 0.0
            counts = self._counts[model] = [0] * len(self._names)
        ordered, below = sorted(values), 0
        for bucket, bound in enumerate(self._bounds):
            up_to = bisect_right(ordered, bound)
            counts[bucket] += up_to - below
            below = up_to
            if below == len(ordered):
                break
        counts[-1] += len(ordered) - below
        self._sums[model] += sum(ordered)

    def keep(self, models: Collection[str]) -> None:
        """Forget all other models."""
        self._counts = {model: counts for model, counts in self._counts.items() if model in models}
        self._sums = {model: total for model, total in self._sums.items() if model in models}

    def family(self) -> "HistogramMetricFamily":
        """What has been counted."""
        from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415 - see above

        family = HistogramMetricFamily(self.name, self.meaning, labels=(_MODEL,))
        sums = self._sums.copy()
        for model, counts in self._counts.copy().items():
            buckets = list(zip(self._names, accumulate(counts), strict=True))
            family.add_metric((model,), buckets, sums.get(model, 0.0))
        return family
