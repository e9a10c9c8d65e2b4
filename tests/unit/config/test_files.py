"""The files of a configuration."""

import pytest

from llama_swap.config import ConfigError, config_sources


def test_order_of_sources(tmp_path):
    """The file comes first, then the YAML files of the directory by name, nothing else and nothing below."""
    for name in ("b.yaml", "a.yml", "c.txt", "D.YAML"):
        (tmp_path / name).touch()
    (tmp_path / "sub.yaml").mkdir()
    (tmp_path / "sub.yaml" / "x.yaml").touch()
    file = tmp_path / "config"
    assert [path.name for path in config_sources(file, tmp_path)] == ["config", "D.YAML", "a.yml", "b.yaml"]


def test_no_sources(tmp_path):
    """Nothing given, or an empty directory, is an error that says so."""
    for directory in (None, tmp_path):
        with pytest.raises(ConfigError, match="no configuration sources found"):
            config_sources(None, directory)


def test_file_in_directory(tmp_path):
    """The same file by both flags is an error, also through a symlink."""
    (tmp_path / "a.yaml").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a.yaml")
    for name in ("a.yaml", "link"):
        with pytest.raises(ConfigError, match="is also in --config-dir"):
            config_sources(tmp_path / name, tmp_path)


def test_directory_that_is_none(tmp_path):
    """A directory that cannot be read is an error that names it."""
    with pytest.raises(ConfigError, match=r"nowhere.*No such file"):
        config_sources(None, tmp_path / "nowhere")
