"""When figures of an earlier run hold for this one."""

import os

import pytest

from llama_swap.footprint.facts import ModelFacts
from llama_swap.footprint.identity import identity_of


@pytest.fixture
def model(tmp_path):
    """A file."""
    path = tmp_path / "m.gguf"
    path.write_bytes(b"1234")
    return path


def identity(*argv, files=(), **env):
    """The identity of a command."""
    return identity_of(ModelFacts("m", tuple(map(str, argv)), env), files)


@pytest.mark.parametrize(
    "argv",
    [
        ("llama-server", "--port", "5802"),
        ("llama-server", "--port", "5801", "--host", "0.0.0.0"),
        ("llama-server", "--port", "5801", "--alias", "x"),
        ("llama-server", "--port", "5801", "--api-key", "secret"),
    ],
)
def test_ports_and_names_do_not_matter(argv):
    """Nor does anything else that takes no memory."""
    assert identity(*argv) == identity("llama-server", "--port", "5801")


def test_ports_inside_a_word_do_not_matter():
    """In a shell's script and in a container's options."""
    assert identity("sh", "-c", "x --port 1 -c 5") == identity("sh", "-c", "x --port 22 -c 5")
    assert identity("sh", "-c", "x --port=1") == identity("sh", "-c", "x --port=22")
    assert identity("docker", "-p", "5801:8080") == identity("docker", "-p", "5900:8080")
    assert identity("docker", "-p", "127.0.0.1:5801:8080") == identity("docker", "-p", "127.0.0.1:1:8080")
    assert identity("sh", "-c", "x --port 1 -c 5") != identity("sh", "-c", "x --port 1 -c 6")


def test_options_matter():
    """Any other word."""
    assert identity("llama-server", "-c", "1") != identity("llama-server", "-c", "2")
    assert identity("llama-server", "a", "b") != identity("llama-server", "ab")


def test_variables_of_the_libraries_matter():
    """Others do not; nor do secrets, which no file should hold even as a digest."""
    assert identity("x", CUDA_VISIBLE_DEVICES="0") != identity("x", CUDA_VISIBLE_DEVICES="1")
    assert identity("x", LLAMA_ARG_CTX_SIZE="0") != identity("x")
    assert identity("x", PATH="/a", LLAMA_ARG_PORT="1", HF_TOKEN="s", LLAMA_API_KEY="s") == identity("x")


def test_files_matter(model):
    """Another quantisation under the old name is another model, wherever the file is named."""
    by_word, by_file = identity("x", model), identity("x", files=[model])
    model.write_bytes(b"12345")
    assert identity("x", model) != by_word
    assert identity("x", files=[model]) != by_file


def test_the_time_of_a_file_matters(model):
    """Two files of one size may differ."""
    before = identity("x", model)
    os.utime(model, ns=(1, 1))
    assert identity("x", model) != before


def test_a_link_is_what_it_points_to(model, tmp_path):
    """A new version behind the same link is another program."""
    link = tmp_path / "link"
    link.symlink_to(model)
    before = identity("x", link)
    other = tmp_path / "other.gguf"
    other.write_bytes(b"1234")
    os.utime(other, ns=(model.stat().st_atime_ns, model.stat().st_mtime_ns))
    link.unlink()
    link.symlink_to(other)
    assert identity("x", link) != before


def test_the_program_matters(tmp_path):
    """Found as the child would find it."""
    programs = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "llama-server"
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        programs.append(identity("llama-server", PATH=str(tmp_path / folder)))
    assert programs[0] != programs[1]


def test_a_file_that_is_not_there_is_no_error(tmp_path):
    """It has an identity, too: that of its absence."""
    missing = tmp_path / "none.gguf"
    before = identity("x", missing)
    missing.touch()
    assert identity("x", missing) != before


def test_a_loop_of_links_is_no_error(tmp_path):
    """Whatever lies there."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert identity("x", loop)
