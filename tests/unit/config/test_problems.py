"""Problems as people read them."""

from pathlib import Path

import pytest

from llama_swap.config import ConfigError, Problem
from llama_swap.config.problems import render_key

FILE = Path("/etc/c.yaml")


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(FILE, 3, "ttl", '"5"', "unknown", "use x"), '/etc/c.yaml:3: ttl = "5": unknown (use x)'),
        (Problem(FILE, 3, "ttl", None, "unknown"), "/etc/c.yaml:3: ttl: unknown"),
        (Problem(FILE, 0, "", None, "cannot be read"), "/etc/c.yaml: cannot be read"),
        (Problem(None, 0, "", None, "no sources", "give one"), "no sources (give one)"),
    ],
)
def test_text(problem, text):
    """File, line, key, value, rule and fix, each where there is one."""
    assert str(problem) == text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("models", "gpt-oss:20b", "aliases", 0), "models.gpt-oss:20b.aliases[0]"),
        (("models", "qwen2.5", "a b", ""), 'models."qwen2.5"."a b".""'),
    ],
)
def test_keys(path, text):
    """Names with dots or blanks are quoted."""
    assert render_key(path) == text


def test_error_text():
    """The exception reads as all of its problems, a line each."""
    error = ConfigError(Problem(None, 0, "", None, rule) for rule in ("one", "two"))
    assert str(error) == "one\ntwo"
    assert len(error.problems) == 2
