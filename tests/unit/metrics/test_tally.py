"""Counting: the families have the values, names and buckets that Prometheus expects."""

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from llama_swap.metrics.tally import Distribution, Tally

BOUNDS = (0.1, 1, 2.5)


def counting_meanwhile(family_type, tally, distribution):
    """``add_metric`` of a family, in which new models are counted."""
    real = family_type.add_metric

    def add_metric(*arguments):
        tally.add(f"new-{len(tally._counts)}")
        distribution.observe(f"new-{len(distribution._counts)}", 1)
        real(*arguments)

    return add_metric


def samples(family):
    """Name, labels and value of each sample."""
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for s in family.samples}


def test_a_tally_counts_by_its_labels():
    """Each combination on its own, in the name with _total."""
    tally = Tally("x", "meaning", "kind")
    tally.add("a", "one")
    tally.add("a", "one", amount=2.5)
    tally.add("a", "two")
    assert samples(tally.family()) == {
        ("x_total", (("kind", "one"), ("model", "a"))): 3.5,
        ("x_total", (("kind", "two"), ("model", "a"))): 1,
    }


def test_counting_goes_on_while_a_page_is_written(monkeypatch):
    """The page is written in a thread: each label may be new in the middle of it."""
    tally, distribution = Tally("x", "meaning"), Distribution("y", "meaning", BOUNDS)
    tally.add("a")
    distribution.observe("a", 1)

    monkeypatch.setattr(CounterMetricFamily, "add_metric", counting_meanwhile(CounterMetricFamily, tally, distribution))
    monkeypatch.setattr(
        HistogramMetricFamily, "add_metric", counting_meanwhile(HistogramMetricFamily, tally, distribution)
    )
    assert {sample.labels["model"] for sample in tally.family().samples} == {"a"}
    assert "a" in {sample.labels["model"] for sample in distribution.family().samples}


def test_models_can_be_forgotten():
    """What is kept keeps its values."""
    tally, distribution = Tally("x", "meaning"), Distribution("y", "meaning", BOUNDS)
    for model in ("a", "b"):
        tally.add(model)
        distribution.observe(model, 1)
    tally.keep({"b"})
    distribution.keep({"b"})
    assert samples(tally.family()) == {("x_total", (("model", "b"),)): 1}
    assert {dict(labels)["model"] for _, labels in samples(distribution.family())} == {"b"}


@given(st.lists(st.lists(st.integers(0, 5000).map(lambda ms: ms / 1024) | st.sampled_from(BOUNDS))))
def test_a_distribution_is_the_library_s_histogram(batches):
    """Whatever is observed, alone or many at once, the samples are those of prometheus-client's own instrument."""
    registry = CollectorRegistry()
    theirs = Histogram("x_seconds", "meaning", ["model"], buckets=BOUNDS, registry=registry)
    ours = Distribution("x_seconds", "meaning", BOUNDS)
    for values in batches:
        for value in values:
            theirs.labels("a").observe(value)
        if len(values) == 1:
            ours.observe("a", values[0])
        else:
            ours.observe_all("a", values)
    expected = {key: value for key, value in samples(next(iter(registry.collect()))).items() if "created" not in key[0]}
    found = samples(ours.family())
    assert found.keys() == expected.keys()
    assert all(math.isclose(found[key], value, abs_tol=1e-9) for key, value in expected.items())
