"""Files that llama-server fetched before, in the Hugging Face cache."""

import pytest

from llama_swap.footprint.facts import NotUnderstoodError
from llama_swap.footprint.hf_cache import cached_model, cached_projector

REVISION = "0123456789abcdef"


@pytest.fixture
def repository(tmp_path):
    """``repository("a.gguf", ...)`` fills the cache of org/name and returns its environment."""

    def fill(*names, revision=REVISION):
        root = tmp_path / "models--org--name"
        (root / "refs").mkdir(parents=True)
        (root / "refs" / "main").write_text(f"{revision}\n")
        for name in names:
            path = root / "snapshots" / REVISION / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return {"LLAMA_CACHE": str(tmp_path)}

    return fill


@pytest.mark.parametrize(
    ("spec", "file", "names", "expected"),
    [
        ("org/name:Q8_0", "", ["m-Q4_K_M.gguf", "m-Q8_0.gguf"], "m-Q8_0.gguf"),
        ("org/name:q8_0", "", ["m-Q8_0.gguf"], "m-Q8_0.gguf"),
        ("org/name", "", ["m-Q3_K.gguf", "m-Q4_K_M.gguf"], "m-Q4_K_M.gguf"),
        ("org/name", "", ["m-F16.gguf"], "m-F16.gguf"),
        ("org/name", "", ["mmproj-F16.gguf", "m-F16.gguf", "mtp-m.gguf"], "m-F16.gguf"),
        ("org/name:Q4", "", ["Q4/m-Q4-00002-of-00002.gguf", "Q4/m-Q4-00001-of-00002.gguf"], "m-Q4-00001-of-00002.gguf"),
        ("org/name", "sub/x.gguf", ["m-Q4_K_M.gguf", "sub/x.gguf"], "x.gguf"),
    ],
)
def test_the_file_is_the_one_that_the_server_would_take(repository, spec, file, names, expected):
    """By its name, by the tag, or by llama.cpp's preference."""
    assert cached_model(spec, file, repository(*names)).name == expected


@pytest.mark.parametrize(
    ("spec", "names", "words"),
    [
        ("org/name:Q5_K", ["m-Q4_K_M.gguf"], "has not been fetched"),
        ("org/other", ["m-Q4_K_M.gguf"], "has not been fetched"),
        ("org/name", [], "has not been fetched"),
        ("../../etc", [], "is not understood"),
        ("org/../x", [], "is not understood"),
    ],
)
def test_what_is_not_there_is_told(repository, spec, names, words):
    """A name is never a path of its own."""
    env = repository(*names)
    with pytest.raises(NotUnderstoodError, match=words):
        cached_model(spec, "", env)


def test_a_revision_is_no_path(repository):
    """What lies in the cache is not believed either."""
    env = repository("m.gguf", revision="../../x")
    with pytest.raises(NotUnderstoodError, match="damaged"):
        cached_model("org/name", "", env)


@pytest.mark.parametrize(
    ("variable", "below"),
    [
        ("LLAMA_CACHE", ""),
        ("HF_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
        ("HOME", ".cache/huggingface/hub"),
    ],
)
def test_the_folder_is_named_by_variables(tmp_path, variable, below):
    """Those that llama.cpp looks at."""
    root = tmp_path / below / "models--org--name"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(REVISION)
    (root / "snapshots" / REVISION).mkdir(parents=True)
    (root / "snapshots" / REVISION / "m.gguf").touch()
    assert cached_model("org/name", "", {variable: str(tmp_path)}).name == "m.gguf"


def test_without_a_folder_nothing_is_known():
    """Not even a home."""
    with pytest.raises(NotUnderstoodError, match="no variable"):
        cached_model("org/name", "", {})


def test_the_projector_lies_beside_the_model(tmp_path):
    """The largest of several."""
    model = tmp_path / "m.gguf"
    assert cached_projector(model) is None
    (tmp_path / "mmproj-BF16.gguf").write_bytes(b"12")
    (tmp_path / "mmproj-Q8.gguf").write_bytes(b"1")
    assert cached_projector(model) == tmp_path / "mmproj-BF16.gguf"
