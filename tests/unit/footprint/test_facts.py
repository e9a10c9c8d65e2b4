"""What a configuration declares."""

import pytest

from llama_swap.footprint.facts import ModelFacts


@pytest.mark.parametrize(
    ("declared", "is_declared"),
    [
        ({}, False),
        ({"vram_bytes": 0}, True),
        ({"vram_bytes": 5}, True),
        ({"vram_by_device": {"0": 1}}, True),
        ({"ram_bytes": 5}, False),
        ({"ram_bytes": 5, "devices": ()}, True),
        ({"devices": ()}, False),
    ],
)
def test_a_need_is_declared(declared, is_declared):
    """Of the devices; of the host alone only where no device is used."""
    assert ModelFacts("m", ("x",), **declared).is_declared is is_declared
