"""The demo's folder: its place, its upstream, its configuration."""

import sys
from pathlib import Path

import pytest
import yaml

from llama_swap.config import PortBook, load_config
from llama_swap.demo.folder import (
    ALPHA,
    BETA,
    DemoError,
    cache_folder,
    config_text,
    embedded_command,
    upstream_command,
    write_demo,
)


def program(folder, name):
    """An executable file."""
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_cache_folder_follows_xdg(tmp_path):
    """XDG_CACHE_HOME is used where it is an absolute path, else ~/.cache."""
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "llama-swap-demo"
    for environ in ({}, {"XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "relative"}):
        assert cache_folder(environ) == Path.home() / ".cache" / "llama-swap-demo"


def test_llama_server_on_path_is_the_upstream(tmp_path):
    """An installed llama-server comes before the embedded one."""
    installed = program(tmp_path, "llama-server")
    assert upstream_command({"PATH": str(tmp_path)}) == [str(installed)]


def test_named_server_comes_first(tmp_path):
    """LLAMA_SERVER wins over PATH."""
    program(tmp_path, "llama-server")
    other = program(tmp_path, "mine")
    assert upstream_command({"PATH": str(tmp_path), "LLAMA_SERVER": str(other)}) == [str(other)]


def test_named_server_must_exist(tmp_path):
    """A wrong LLAMA_SERVER is an error, not a reason to take another server."""
    with pytest.raises(DemoError, match="nothing-here"):
        upstream_command({"PATH": str(tmp_path), "LLAMA_SERVER": "nothing-here"})


def test_embedded_server_is_the_default(tmp_path):
    """Without a llama-server it is the command of this installation, by absolute path."""
    assert upstream_command({"PATH": str(tmp_path)}) == embedded_command()
    assert Path(embedded_command()[0]).is_absolute()


def test_embedded_server_without_its_script(monkeypatch, tmp_path):
    """Where only the package is there, the module is run by this interpreter."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    assert embedded_command() == [str(tmp_path / "python3"), "-m", "llama_swap.demo.server"]


def test_folder_holds_models_and_configuration(tmp_path):
    """A new folder gets both models and a configuration that names them; a second run replaces them."""
    folder = tmp_path / "new" / "demo"
    for _ in range(2):
        config = write_demo(folder, ["/bin/llama-server"])
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "tiny-alpha.gguf", "tiny-beta.gguf"}
    assert set(yaml.safe_load(config.read_text())["models"]) == {ALPHA.name, BETA.name}


def test_folder_that_cannot_be_made_is_an_error(tmp_path):
    """The message says what could not be written."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DemoError, match="file"):
        write_demo(tmp_path / "file" / "demo", ["/bin/llama-server"])


def test_configuration_is_valid_with_difficult_paths(tmp_path):
    """Spaces and quotes in paths survive YAML, macros and the splitting of the command."""
    file = tmp_path / "config.yaml"
    folder = Path("/some/where with 'quotes' and \"more\"")
    file.write_text(config_text(folder, ["/opt/my server/llama-server", "--verbose"]), encoding="utf-8")
    config = load_config([file], env={}, ports=PortBook())
    argv = config.models["tiny-alpha"].argv
    assert argv[:2] == ("/opt/my server/llama-server", "--verbose")
    assert argv[argv.index("--model") + 1] == f"{folder}/tiny-alpha.gguf"
    assert argv[argv.index("--alias") + 1] == "tiny-alpha"
