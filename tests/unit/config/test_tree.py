"""Taking trees apart."""

from pathlib import Path

import pytest

from llama_swap.config.tree import has_anchor, node_at, plain_data, problem_at, shown_value, without
from llama_swap.config.yaml12 import parse_yaml

ROOT = parse_yaml("a:\n  - x\n  - k: 1\n    l: 2\nb: 3\n", Path("f"))


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (("b",), {"a": ["x", {"k": "1", "l": "2"}]}),
        (("a", 0), {"a": [{"k": "1", "l": "2"}], "b": "3"}),
        (("a", 1, "k"), {"a": ["x", {"l": "2"}], "b": "3"}),
        (("a", 5), {"a": ["x", {"k": "1", "l": "2"}], "b": "3"}),
        (("b", "c"), {"a": ["x", {"k": "1", "l": "2"}], "b": "3"}),
    ],
)
def test_without(path, left):
    """Only what is at the path goes, if anything is there."""

    def texts(data):
        if isinstance(data, dict):
            return {key: texts(value) for key, value in data.items()}
        return [texts(item) for item in data] if isinstance(data, list) else data.text

    assert texts(plain_data(without(ROOT, path))) == left


def test_problem_at():
    """A problem gets the line of its key and the value as written; a missing key gets the place above."""
    problem = problem_at(ROOT, ("a", 1, "l"), "rule", "fix")
    assert (problem.line, problem.key, problem.value) == (4, "a[1].l", '"2"')
    assert problem_at(ROOT, ("a", 1, "l"), "rule", secret=True).value is None
    assert (problem_at(ROOT, ("a", 1, "m"), "rule").line, problem_at(ROOT, ("a", 1), "rule").value) == (3, None)


def test_shown_value():
    """Long values are cut, lines joined, secrets hidden."""
    assert shown_value("a\n  b", ("x",)) == '"a b"'
    assert len(shown_value("x" * 100, ("x",))) == 62
    assert shown_value("srv --api-key abc", ("x",)) == '"srv --api-key REDACTED"'
    assert shown_value("k", ("apiKeys", 0)) is None
    assert shown_value("A=1", ("models", "m", "env", 0)) is None


@pytest.mark.parametrize(("text", "found"), [("a: &x 1", True), ("a: [&x {b: 1}]", True), ("a: [1]", False)])
def test_has_anchor(text, found):
    """An anchor in any depth counts."""
    assert has_anchor(node_at(parse_yaml(text, Path("f")), ("a",))) == found
