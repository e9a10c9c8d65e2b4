"""Entries of the list of models."""

import pytest

from llama_swap.api.models import describe
from llama_swap.config import PortBook, load_config


@pytest.fixture
def entry(tmp_path):
    """Makes the entry of a model with these keys."""

    def make(more="", *, context=None):
        path = tmp_path / "config.yaml"
        path.write_text(f"models:\n  m:\n    cmd: server ${{PORT}}\n{more}")
        config = load_config([path], env={}, ports=PortBook())
        return describe(config.models["m"], context=context, created=7, loaded=False)

    return make


@pytest.mark.parametrize(
    ("capabilities", "architecture", "flags"),
    [
        ("in: [text, image]", {"input_modalities": ["text", "image"]}, {"vision": True}),
        ("in: [audio]", {"input_modalities": ["audio"]}, None),
        ("out: [text, audio]", {"output_modalities": ["text", "audio"]}, None),
        (
            "in: [text, image], out: [image]",
            {"input_modalities": ["text", "image"], "output_modalities": ["image"], "modality": "text+image->image"},
            {"vision": True, "image_generation": True, "image_to_image": True},
        ),
        ("tools: true", None, {"function_calling": True}),
    ],
)
def test_sides_that_are_not_configured_are_left_out(entry, capabilities, architecture, flags):
    """Clients take what is there; an empty list would say that a model writes nothing."""
    item = entry(f"    capabilities: {{{capabilities}}}\n")
    assert (item.get("architecture"), item.get("capabilities")) == (architecture, flags)


def test_aliases_only_where_there_are_some(entry):
    """An empty list is no information."""
    assert entry()["meta"] == {"llamaswap": {"type": "model"}}
    assert entry("    aliases: [x]\n")["meta"]["llamaswap"]["aliases"] == ["x"]


def test_known_context_is_said_twice(entry):
    """Where OpenRouter's clients look, and where llama.cpp's do."""
    item = entry(context=512)
    assert (item["context_length"], item["meta"]["n_ctx"]) == (512, 512)
    assert "context_length" not in entry()
