"""What sections have in common."""

from llama_swap.config.schema_names import PeerTimeoutsSection
from llama_swap.config.section import Section, descriptions


class First(Section):
    """A section."""

    plain: int = 0
    """What it is
    for."""
    bare: int = 0
    list_of: tuple[int, ...] = ()
    """Some."""


class Second(First):
    """One that has more."""

    list_of: tuple[int, ...] = (1,)
    """Others."""


def test_descriptions():
    """The text below a key is about it, in one piece; a key may be without, and one that is said again counts."""
    assert descriptions(First) == {"plain": "What it is\nfor.", "list_of": "Some."}
    assert descriptions(Second) == {"plain": "What it is\nfor.", "list_of": "Others."}


def test_every_key_of_a_section_has_its_own():
    """Also those that it shares with the section that it extends."""
    assert descriptions(PeerTimeoutsSection).keys() == PeerTimeoutsSection.model_fields.keys()


def test_the_json_schema_shows_them():
    """By the names that are written in the file."""
    shown = {name: key.get("description") for name, key in Second.model_json_schema()["properties"].items()}
    assert shown == {"plain": "What it is\nfor.", "bare": None, "listOf": "Others."}
