"""Totals and histograms, against a calculation in Python."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_swap.activity.database import Database
from llama_swap.activity.row import Outcome, Row
from llama_swap.activity.stats import Histogram, bin_count
from llama_swap.activity.usage import Usage


def _stats(usages, model=None):
    database = Database(None)
    database.insert(
        [
            Row(
                id=number,
                timestamp=1,
                model="ab"[number % 2],
                req_path="/",
                resp_status_code=200,
                duration_ms=1,
                outcome=Outcome.OK,
                tokens=usage,
            )
            for number, usage in enumerate(usages, 1)
        ]
    )
    stats = database.stats(model)
    database.close()
    return stats


def _percentile(ordered, percent):
    rank = percent / 100 * (len(ordered) - 1)
    low, high = ordered[math.floor(rank)], ordered[math.ceil(rank)]
    return low + (rank - math.floor(rank)) * (high - low)


def test_totals():
    """Unknown counters count as nothing; a model's name narrows everything."""
    usages = [Usage(1, 2, -1), Usage(10, 20, 30), Usage(100, 200, 300, tokens_per_second=7)]
    every = _stats(usages)
    assert (every.total_requests, every.total_input_tokens, every.total_output_tokens) == (3, 111, 222)
    assert every.total_cache_tokens == 330
    one = _stats(usages, "a")
    assert (one.total_requests, one.total_cache_tokens, one.gen_histogram) == (1, 30, None)


def test_nothing_measured():
    """Without rows, or without speeds, there is no histogram."""
    assert _stats([]).prompt_histogram is None
    assert _stats([Usage(prompt_per_second=-1)]).prompt_histogram is None


def test_equal_speeds():
    """One bin without width."""
    found = _stats([Usage(tokens_per_second=5)] * 3).gen_histogram
    assert found == Histogram((3,), 5, 5, 0, 5, 5, 5)


@settings(max_examples=50)
@given(st.lists(st.floats(0.01, 1e6) | st.sampled_from([1.0, 2.0, 3.0]), min_size=2, max_size=60))
def test_histogram(speeds):
    """Bins cover all speeds, percentiles are interpolated between neighbours."""
    found = _stats([Usage(prompt_per_second=speed) for speed in [*speeds, -1, 0]]).prompt_histogram
    ordered = sorted(speeds)
    assert sum(found.bins) == len(speeds)
    assert (found.min, found.max) == (ordered[0], ordered[-1])
    for percent, value in ((50, found.p50), (95, found.p95), (99, found.p99)):
        assert value == pytest.approx(_percentile(ordered, percent))
    if found.binSize:
        expected = [0] * bin_count(len(speeds))
        for speed in speeds:
            expected[min(int((speed - found.min) / found.binSize), len(expected) - 1)] += 1
        assert list(found.bins) == expected


def test_number_of_bins():
    """Sturges' rule between 5 and 20."""
    assert [bin_count(count) for count in (1, 16, 17, 1024, 10**9)] == [5, 5, 6, 11, 20]
