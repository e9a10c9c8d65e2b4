"""YAML 1.2 and not 1.1, with places and with errors for what other parsers let pass."""

import json
import math
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from llama_swap.config import ConfigError
from llama_swap.config.tree import Array, Scalar, Table, node_at, place_of
from llama_swap.config.yaml12 import parse_yaml, resolve_plain

FILE = Path("config.yaml")


def data(text):
    """The values of a text, without their places."""

    def values(node):
        match node:
            case Table():
                return {key: values(value) for key, value in node.entries.items()}
            case Array():
                return [values(item) for item in node.items]
            case Scalar():
                return node.value
            case _:
                return None

    return values(parse_yaml(dedent(text), FILE))


def problems(text):
    """Line and rule of everything that is wrong with a text."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml(dedent(text), FILE)
    return [(problem.line, problem.key, problem.rule) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(
            (text, text)
            for text in ("on", "off", "yes", "no", "y", "1:30", "1_000", "0b1", "2026-08-22", "=", "1e", "0o8")
        ),
        *((text, None) for text in ("", "~", "null", "Null", "NULL")),
        *((text, True) for text in ("true", "True", "TRUE")),
        *((text, False) for text in ("false", "False", "FALSE")),
        *((text, 12) for text in ("12", "+12", "012", "0o14", "0xC")),
        *((text, 0.5) for text in ("0.5", ".5", "5e-1", "+.5", "0.5e0")),
        ("1.", 1.0),
        ("-.inf", -math.inf),
        ("nULL", "nULL"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_plain_scalars(text, value):
    """Plain scalars have the types of YAML 1.2's core schema."""
    found = resolve_plain(text)
    assert found == value
    assert type(found) is type(value)


@given(st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.none()))
def test_numbers_of_json_are_themselves(value):
    """Numbers, booleans and null as JSON writes them have the value that JSON gives them."""
    text = json.dumps(value).replace("Infinity", ".inf")
    assert resolve_plain(text) == value


PRINTABLE = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\x85\u2028\u2029\ufeff\ufffe\uffff")
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), PRINTABLE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PRINTABLE, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(PRINTABLE, JSON, min_size=1, max_size=3))
@example({"cmd": "x ${env.A} {} ${PORT} \ue000"})
def test_json_is_yaml(value):
    """A JSON object reads as itself, indented with blanks or tabs: Nix writes configurations as JSON."""
    assert data(json.dumps(value, ensure_ascii=False)) == value
    if yaml.__with_libyaml__:
        assert data(json.dumps(value, ensure_ascii=False, indent="\t")) == value


def test_macros_in_flow_collections():
    """`${...}` needs no quotes in a flow list or mapping, though its braces mean something there."""
    assert data("a: [${env.K}, x-${b}]\nm: {p: ${PORT}, ${k}: 1}") == {
        "a": ["${env.K}", "x-${b}"],
        "m": {"p": "${PORT}", "${k}": 1},
    }


def test_keys_are_text():
    """A key keeps its spelling, whatever it looks like."""
    assert data("1: a\ntrue: b\n0x10: c\n1.50: d\n") == {"1": "a", "true": "b", "0x10": "c", "1.50": "d"}


def test_tags():
    """A tag decides the type."""
    assert data('[!!str 5, !!int "7", !!float 2, ! 5]') == ["5", 7, 2.0, "5"]
    assert problems("a: !!int x\nb: !secret y") == [
        (1, "a", "`x` cannot be read as `!!int`"),
        (2, "b", "`y` cannot be read as `!secret`"),
    ]


def test_merge_keys():
    """`<<` adds what is missing: own keys win, then the first of several, each in its order."""
    text = """
        one: &one {a: 1, b: 1}
        two: &two {b: 2, c: 2}
        both: {<<: [*one, *two], c: 3, d: 3}
        single:
          x: 0
          <<: *one
        quoted: {"<<": 5}
    """
    found = data(text)
    assert found["both"] == {"c": 3, "d": 3, "a": 1, "b": 1}
    assert list(found["single"]) == ["x", "a", "b"]
    assert found["quoted"] == {"<<": 5}


def test_duplicate_keys_are_errors_everywhere():
    """Every key that is there twice is found, with the line of the first."""
    assert problems("a: 1\nb:\n  c: 1\n  'c': 2\na: 2\n") == [
        (4, "b.c", "the key is here twice, first on line 3"),
        (5, "a", "the key is here twice, first on line 1"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [", 2, "not YAML"),
        ("a: *nowhere", 1, "has no anchor"),
        ("a: &a {b: *a}", 1, "part of"),
        ("a: 1\n---\nb: 2", 3, "one YAML document"),
        ("? [x]\n: 1", 1, "a key must be"),
        ("a:\n  <<: 5", 2, "`<<` takes"),
        ("a: b\n  c: d", 2, "not YAML"),
        ("\x01", 0, "not YAML"),
        ("[" * 5000, 0, "nested too deeply"),
    ],
)
def test_other_errors(text, line, words):
    """Whatever is not one YAML document is refused with its line."""
    ((found_line, _, rule),) = problems(text)
    assert (found_line, words in rule) == (line, True)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null"])
def test_empty(text):
    """A text without content has no tree."""
    assert parse_yaml(text, FILE) is None


def test_byte_order_mark():
    """A byte order mark is no part of the first key."""
    assert data("\ufeffa: 1") == {"a": 1}


def test_places():
    """A path leads to the line of its key; under an alias, to the line of what it stands for."""
    root = parse_yaml("a:\n  - x\n  - &two\n    k: 1\nb: *two\n", FILE)
    assert [place_of(root, path).line for path in [("a",), ("a", 0), ("a", 1, "k"), ("b",), ("b", "k")]] == [
        1,
        2,
        4,
        5,
        4,
    ]
    assert place_of(root, ("a", 1, "missing", 3)).line == 3
    assert node_at(root, ("a", 7)) is None
