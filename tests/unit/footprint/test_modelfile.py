"""Models in one file and in several."""

import pytest

from llama_swap.footprint.gguf import GgufError
from llama_swap.footprint.modelfile import MAX_PARTS, parts_of, read_model_file

from .conftest import Q8_0, llama_metadata


def test_one_file_is_its_only_part(tmp_path):
    """Whatever it is called."""
    assert parts_of(tmp_path / "a-1-of-2.gguf") == (tmp_path / "a-1-of-2.gguf",)


def test_all_parts_are_found_from_any(tmp_path):
    """In their order."""
    names = [part.name for part in parts_of(tmp_path / "a-00002-of-00003.gguf")]
    assert names == ["a-00001-of-00003.gguf", "a-00002-of-00003.gguf", "a-00003-of-00003.gguf"]


@pytest.mark.parametrize("count", ["00000", f"{MAX_PARTS + 1:05}", "99999"])
def test_a_name_does_not_make_us_read_for_ever(tmp_path, count):
    """The number in a name is not believed without bounds."""
    path = tmp_path / f"a-00001-of-{count}.gguf"
    if int(count) > MAX_PARTS:
        with pytest.raises(GgufError, match=f"at most {MAX_PARTS}"):
            parts_of(path)
    else:
        assert parts_of(path) == (path,)


def test_the_tensors_of_all_parts_count(write_gguf):
    """The keys are those of the first part."""
    write_gguf("a-00001-of-00002.gguf", llama_metadata(), [("a", (32,), Q8_0)])
    path = write_gguf("a-00002-of-00002.gguf", {}, [("b", (64,), Q8_0)])
    found = read_model_file(path)
    assert found.tensor_bytes == 34 + 68
    assert found.metadata["general.architecture"] == "llama"


def test_a_missing_part_is_named(write_gguf):
    """A download that is not finished."""
    path = write_gguf("a-00001-of-00002.gguf")
    with pytest.raises(GgufError, match=r"a-00002-of-00002\.gguf: .*cannot be read"):
        read_model_file(path)
