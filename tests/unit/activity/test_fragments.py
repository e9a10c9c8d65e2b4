"""Objects in documents that are not kept whole."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_swap.activity.fragments import objects_at_end, objects_at_start

NAMES = frozenset({b'"usage"', b'"timings"'})
CONTAINERS = frozenset({b'"response"'})
TRAPS = ['"usage":{"a":1}', "\\", '"', '\\"', "}", "{", '"usage":', "[", "]"]

# Text like that of a model that was asked about this very format.
texts = st.lists(st.sampled_from([*TRAPS, "x", "é", " "]), max_size=4).map("".join)
values = st.recursive(
    texts | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)
usages = st.dictionaries(texts, values, max_size=3)
dumps = st.sampled_from([json.dumps, lambda v: json.dumps(v, indent=1), lambda v: json.dumps(v, separators=(",", ":"))])


def _end(text):
    return {name.decode(): json.loads(value) for name, value in objects_at_end(text, NAMES, CONTAINERS).items()}


def _start(text):
    return {name.decode(): json.loads(value) for name, value in objects_at_start(text, NAMES).items()}


@settings(max_examples=60)
@given(st.dictionaries(texts, values, max_size=4), usages, st.dictionaries(texts, values, max_size=2), dumps, st.data())
def test_the_end_of_a_document_gives_its_usage(before, usage, after, dump, data):
    """Wherever the document is cut in front of it, the top's usage is found exactly and nothing else is."""
    before = {name: value for name, value in before.items() if name not in after}
    document = {**before, "usage": usage, **after}
    text = dump(document).encode()
    from_usage = len(dump(before)) - 2 if before else 0
    cut = data.draw(st.integers(0, max(0, min(from_usage, len(text)))))
    assert _end(text[cut:])['"usage"'] == usage


@settings(max_examples=60)
@given(st.dictionaries(texts, values, max_size=4), dumps, st.integers(0, 200))
def test_text_that_looks_like_usage_is_none(document, dump, cut):
    """Strings, however they are written, never give a find."""
    document = {"a": {"b": [{"c": document}]}}
    text = dump(document).encode()
    assert _end(text[min(cut, 4) :]) == {}
    assert _start(text) == {}


@settings(max_examples=60)
@given(usages, st.dictionaries(texts, values, max_size=4), dumps)
def test_the_start_of_a_document_gives_its_usage(usage, after, dump):
    """Usage in front of a list that is too long to keep."""
    text = dump({"model": "m", "usage": usage, **after, "data": ["x" * 100]}).encode()
    assert _start(text[:-50])['"usage"'] == usage


@settings(max_examples=60)
@given(st.binary(max_size=300))
def test_anything_may_come(text):
    """No bytes make it fail."""
    objects_at_end(text, NAMES, CONTAINERS)
    objects_at_start(text, NAMES)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[{"usage":{"a":1}},{"usage":{"a":2}}]', {'"usage"': {"a": 2}}),
        ('{"type":"t","response":{"x":1,"usage":{"a":1}}}', {'"usage"': {"a": 1}}),
        ('ong text","usage":{"a":1}}}', {'"usage"': {"a": 1}}),
        ('{"other":{"usage":{"a":1}}}', {}),
        ('{"usage":{"a":1},"response":{"usage":{"a":2}}}', {'"usage"': {"a": 2}}),
        ('{"choices":[{"usage":{"a":1}}]}', {}),
        ('{"a":{"usage":1}, "usage": [1]}', {'"usage"': [1]}),
        ('{"usage": null}', {}),
        ('{"usage": null, "x": {"a": 1}}', {}),
        ('{"a":1}{"usage":{"a":1}}', {'"usage"': {"a": 1}}),
    ],
)
def test_where_usage_counts_at_the_end(text, found):
    """At the top, in the last element of an array, and inside a response; nowhere else; the last one counts."""
    assert _end(text.encode()) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"usage" : {"a":{"b":1}} , "data":[', {'"usage"': {"a": {"b": 1}}}),
        ('{"usage":{"a":1', {}),
        ('{"x":"usage","y":{"a":1},"data', {}),
        ('["usage",{"a":1}]', {}),
        ('{"x":{"usage":{"a":1}},', {}),
    ],
)
def test_where_usage_counts_at_the_start(text, found):
    """Only complete objects at the top."""
    assert _start(text.encode()) == found


@pytest.mark.parametrize("pattern", [b"}", b"[", b'"', b'":', b'\\"', b'{"a":'])
def test_time_is_bounded(pattern):
    """Hostile bytes end the search early: the number of tokens is limited, and none is read twice."""
    text = pattern * (32 * 1024 // len(pattern))
    assert _end(text) == {}
    assert _start(text) == {}
