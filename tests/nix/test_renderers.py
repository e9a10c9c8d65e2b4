"""Nix values become the words of a command, and the service reads back exactly those words."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from llama_swap.config.argv import split_command

ROOT = Path(__file__).parents[2]

# What breaks naive quoting: quotes, backslashes, newlines before '#' and after '\', and what only looks like syntax.
NASTY = st.sampled_from(
    [*list("'\"\\#$`!*?[]{}()<>|&;~=%^ \t\n\r"), "\\\n", "\n#", "\n  # x", "''", "\\'", "$PORT", "é", "日本"]
)
# A complete ${...} is a macro, wherever it stands; Nix strings have no NUL.
WORDS = (
    st.lists(st.one_of(NASTY, st.text(alphabet="ab-./:,", max_size=4)), max_size=8)
    .map("".join)
    .filter(lambda word: "${" not in word)
)
ARGVS = st.lists(st.lists(WORDS, min_size=1, max_size=6), min_size=40, max_size=40)


def test_renderers_value_by_value(nix):
    """`lib.runTests` finds no failure in tests/nix/renderers.nix."""
    assert (
        nix.evaluate("lib.runTests (import ./tests/nix/renderers.nix { inherit lib; })".replace("./", f"{ROOT}/")) == []
    )


@settings(max_examples=10)
@given(argvs=ARGVS)
def test_any_words_survive_the_command_line(nix, tmp_path_factory, argvs):
    """Whatever an argument contains, the service's splitter gives it back unchanged."""
    given_words = tmp_path_factory.mktemp("argv") / "argv.json"
    given_words.write_text(json.dumps(argvs))
    commands = nix.evaluate(
        f"map (import {ROOT}/nix/lib.nix {{ inherit lib; }}).renderCommand (lib.importJSON {given_words})"
    )
    assert [list(split_command(command)) for command in commands] == argvs


# Six digits: Nix before 2.13 writes no more into JSON, and no flag of llama-server needs more.
NUMBERS = st.builds(
    lambda digits, power: digits * 10.0**power, st.integers(-999_999, 999_999), st.integers(-14, 3)
).map(lambda value: float(f"{value:.6g}"))


@settings(max_examples=6)
@given(values=st.lists(NUMBERS, min_size=30, max_size=30))
def test_numbers_keep_their_value(nix, tmp_path_factory, values):
    """A float is not cut to six digits on its way to a command line."""
    given_numbers = tmp_path_factory.mktemp("numbers") / "numbers.json"
    given_numbers.write_text(json.dumps(values))
    rendered = nix.evaluate(
        f"map (import {ROOT}/nix/lib.nix {{ inherit lib; }}).renderScalar (lib.importJSON {given_numbers})"
    )
    assert [float(text) for text in rendered] == [float(value) for value in values]
