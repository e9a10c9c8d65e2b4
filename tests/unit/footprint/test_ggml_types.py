"""The table of types, against the one of llama.cpp's own package."""

import pytest

from llama_swap.footprint.ggml_types import CACHE_TYPES, TYPES


def test_the_sizes_are_those_of_llama_cpp():
    """As the gguf package has them; it counts the sum of a q8_1 block in 32 bits, ggml-common.h in two halves."""
    constants = pytest.importorskip("gguf.constants")
    theirs = {int(kind): size for kind, size in constants.GGML_QUANT_SIZES.items() if kind.name != "Q8_1"}
    ours = {number: (kind.block_values, kind.block_bytes) for number, kind in TYPES.items() if number != 9}
    shared = theirs.keys() & ours.keys()
    assert len(shared) > 25
    assert {number: ours[number] for number in shared} == {number: theirs[number] for number in shared}


def test_a_block_that_is_begun_counts_whole():
    """Rows are whole blocks."""
    assert TYPES[8].row_bytes(0) == 0
    assert TYPES[8].row_bytes(1) == 34
    assert TYPES[8].row_bytes(32) == 34
    assert TYPES[8].row_bytes(33) == 68


def test_the_cache_has_the_types_of_its_option():
    """Those that --cache-type-k takes."""
    assert CACHE_TYPES.keys() == {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"}
