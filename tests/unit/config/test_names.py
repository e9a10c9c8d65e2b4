"""Names of models."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.config.names import NamedModel, accepted_names, did_you_mean, nearest_name, suggest


@pytest.mark.parametrize(
    ("name", "near"),
    [("modl", "model"), ("MODEL", "model"), ("globalTtl", "globalTTL"), ("xyz", None), ("", None)],
)
def test_nearest_name(name, near):
    """The most alike known name is found, whatever the case; one that is not alike is not."""
    assert nearest_name(name, ["model", "globalTTL", "other"]) == near


@pytest.mark.parametrize(
    ("count", "tail"),
    [(0, "none"), (2, "m00, m01"), (12, ", m11"), (13, ", m11 and 1 more"), (99, ", m11 and 87 more")],
)
def test_suggest(count, tail):
    """The first dozen of the known names is listed where none is alike."""
    known = [f"m{number:02}" for number in range(count)]
    text = suggest("something else", reversed(known))
    assert text.startswith("known: ")
    assert text.endswith(tail)
    assert suggest("m0x", known) == (f'did you mean "{nearest_name("m0x", known)}"?' if count else "known: none")


def test_did_you_mean():
    """The question is empty where there is nothing to ask."""
    assert did_you_mean("mod1", ["mod2"]) == 'did you mean "mod2"?'
    assert did_you_mean("a1", []) == ""


def test_all_kinds_of_names():
    """IDs, aliases and keys of setParamsByID mean their model; a model may repeat its own ID and alias."""
    names, found = accepted_names({"b": NamedModel(["x", "b"], ["b", "x", "b:fast"]), "a": NamedModel([], [])})
    assert names == {"a": "a", "b": "b", "x": "b", "b:fast": "b"}
    assert found == []


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (NamedModel(["z"], []), NamedModel(["z"], []), "duplicate alias z found in model: b"),
        (NamedModel(["z", "z"], []), NamedModel([], []), "duplicate alias z found in model: a"),
        (NamedModel(["b"], []), NamedModel([], []), "alias b is the ID of another model"),
        (NamedModel([" "], []), NamedModel([], []), "must not be empty"),
        (
            NamedModel([], ["b"]),
            NamedModel([], []),
            "model a filters.setParamsByID: key 'b' conflicts with an existing",
        ),
        (NamedModel(["z"], []), NamedModel([], ["z"]), "duplicate alias 'z' in model b filters.setParamsByID, already"),
        (NamedModel([], ["z"]), NamedModel(["z"], []), "duplicate alias 'z' in model a filters.setParamsByID, already"),
        (NamedModel([], ["z"]), NamedModel([], ["z"]), "already used by model a"),
    ],
)
def test_conflicts(first, second, words):
    """A name that two models claim is one error, said as llama-swap says it where it says it."""
    names, (finding,) = accepted_names({"b": second, "a": first})
    assert words in finding.rule
    assert names["a"] == "a"
    assert names["b"] == "b"


NAMES = st.lists(st.sampled_from("abcxyz"), max_size=3)


@given(st.dictionaries(st.sampled_from("abc"), st.builds(NamedModel, NAMES, NAMES)))
def test_no_finding_means_no_doubt(models):
    """Where nothing is wrong, every claimed name means the model that claims it."""
    names, found = accepted_names(models)
    wrong = {model for model, own in models.items() for name in (*own.aliases, *own.param_ids) if names[name] != model}
    assert not wrong or found
    assert all(names[model] == model for model in models)
