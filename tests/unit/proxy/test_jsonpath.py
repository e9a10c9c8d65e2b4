"""Edits at a path do to the text what the same edits do to the value that it stands for."""

import copy
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.proxy import jsonpath

KEYS = st.sampled_from(["a", "b", "0", "1", "7", ":1", "-1", "x.y", "\\", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('a\\\u00e9"', max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
PATHS = st.lists(KEYS, min_size=1, max_size=3)


def key_of(part):
    """Before digits a colon says that they are a key."""
    return part[1:] if part[:1] == ":" and part[1:].isdecimal() else part


def removed(value, parts):
    """Whether there was something at the path; it is gone then."""
    if isinstance(value, dict):
        here = key_of(parts[0])
        is_there = here in value
    elif isinstance(value, list):
        here = len(value) - 1 if parts[0] == "-1" else int(parts[0]) if parts[0].isdecimal() else -1
        is_there = 0 <= here < len(value)
    else:
        return False
    if not is_there or parts[1:]:
        return is_there and removed(value[here], parts[1:])
    del value[here]
    return True


def assigned(old, parts, new):
    """What is at a place once something was put at the path below it."""
    if not parts:
        return new
    if not isinstance(old, dict | list):
        old = [] if parts[0] == "-1" or parts[0].isdecimal() else {}
    if isinstance(old, dict):
        old[key_of(parts[0])] = assigned(old.get(key_of(parts[0])), parts[1:], new)
    elif parts[0] == "-1" or parts[0].isdecimal():
        here = len(old) if parts[0] == "-1" else int(parts[0])
        old.extend([None] * (here + 1 - len(old)))
        old[here] = assigned(old[here], parts[1:], new)
    return old


@given(OBJECTS, PATHS)
def test_remove(document, parts):
    """What the path leads to is gone, or nothing has changed."""
    opened = jsonpath.read_object(json.dumps(document).encode())
    expected = copy.deepcopy(document)
    assert jsonpath.remove(opened, parts) is removed(expected, parts)
    assert json.loads(jsonpath.write(opened)) == expected


@given(OBJECTS, PATHS, VALUES)
def test_assign(document, parts, value):
    """It stands there afterwards, with what had to be made on the way."""
    opened = jsonpath.read_object(json.dumps(document).encode())
    jsonpath.assign(opened, parts, msgspec.Raw(json.dumps(value).encode()))
    assert json.loads(jsonpath.write(opened)) == assigned(copy.deepcopy(document), parts, value)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a", ["a"]),
        ("a.b", ["a", "b"]),
        (r"a\.b", ["a.b"]),
        (r"a\\.b", ["a\\", "b"]),
        ("a\\", ["a\\"]),
        (".", ["", ""]),
    ],
)
def test_split(path, parts):
    """Dots part keys, unless a backslash stands before them."""
    assert jsonpath.split(path) == parts


def test_what_no_array_is_filled_up_to():
    """One number must not take all the memory."""
    opened = jsonpath.read_object(b'{"a":[1]}')
    jsonpath.assign(opened, ["a", str(jsonpath.ARRAY_LIMIT + 1)], msgspec.Raw(b"2"))
    assert jsonpath.write(opened) == b'{"a":[1]}'
