"""The files on a command line."""

import pytest

from llama_swap.footprint.facts import ModelFacts, NotUnderstoodError
from llama_swap.footprint.files import read_invocation


@pytest.fixture
def folder(tmp_path):
    """A folder with a few files."""
    for name in ("m.gguf", "p.gguf", "d.gguf", "l.gguf", "s-00001-of-00002.gguf", "s-00002-of-00002.gguf"):
        (tmp_path / name).touch()
    return tmp_path


def read(*arguments, **env):
    """Read a command."""
    return read_invocation(ModelFacts("m", ("llama-server", *map(str, arguments)), env))


def test_all_files_are_found(folder):
    """In the order in which they are loaded."""
    arguments = ("--lora", folder / "l.gguf", "--mmproj", folder / "p.gguf", "-md", folder / "d.gguf")
    found = read("-m", folder / "m.gguf", *arguments)
    assert [path.name for path in found.files] == ["m.gguf", "d.gguf", "p.gguf", "l.gguf"]


def test_all_parts_are_files(folder):
    """Of a split model."""
    found = read("-m", folder / "s-00001-of-00002.gguf")
    assert [path.name for path in found.files] == ["s-00001-of-00002.gguf", "s-00002-of-00002.gguf"]


def test_a_repository_brings_its_projector(tmp_path):
    """Unless it is told not to."""
    root = tmp_path / "models--org--name"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("abcdef")
    for name in ("m-Q4_K_M.gguf", "mmproj-F16.gguf"):
        path = root / "snapshots" / "abcdef" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    env = {"LLAMA_CACHE": str(tmp_path)}
    found = read("-hf", "org/name", "-hfd", "org/name", **env)
    assert found.projector is not None
    assert found.projector.name == "mmproj-F16.gguf"
    assert found.draft is not None
    assert read("-hf", "org/name", "--no-mmproj", **env).projector is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "names no model file"),
        (("-m", "/nowhere/m.gguf"), "/nowhere/m.gguf is not there"),
        (("-mu", "https://example.org/m.gguf"), "fetched from a URL"),
        (("--rpc", "host:1"), "on other machines"),
        (("-hf", "org/name"), "no variable"),
    ],
)
def test_what_will_be_loaded_is_certain_or_told(arguments, words):
    """No file is guessed."""
    with pytest.raises(NotUnderstoodError, match=words):
        read(*arguments)


def test_a_missing_projector_is_told(folder):
    """The server would not start either."""
    with pytest.raises(NotUnderstoodError, match="is not there"):
        read("-m", folder / "m.gguf", "--mmproj", folder / "none.gguf")


def test_a_name_with_too_many_parts_is_told(folder):
    """Before anything is looked for."""
    path = folder / "x-00001-of-99999.gguf"
    path.touch()
    with pytest.raises(NotUnderstoodError, match="99999 parts"):
        _ = read("-m", path).files
