"""Which files a configuration is read from."""

from pathlib import Path

from llama_swap.config.problems import ConfigError, Problem

SUFFIXES = frozenset({".yml", ".yaml"})


def config_sources(config: Path | None, config_dir: Path | None) -> tuple[Path, ...]:
    """The files to read, in order: the file, then the YAML files of the directory by name, without its sub-directories.

    Raises:
        ConfigError: there are none, the directory cannot be read, or the file is in the directory too.
    """
    found = () if config_dir is None else _in_directory(config_dir)
    if config is not None:
        for other in found:
            if other.resolve() == config.resolve():
                rule = f"--config {config} is also in --config-dir {config_dir}"
                raise ConfigError([Problem(config, 0, "", None, rule, "remove it from one of them")])
        found = (config, *found)
    if not found:
        fix = "give --config FILE" if config_dir is None else f"put a .yaml file into {config_dir}"
        raise ConfigError([Problem(config_dir, 0, "", None, "no configuration sources found", fix)])
    return found


def _in_directory(directory: Path) -> tuple[Path, ...]:
    try:
        files = [path for path in directory.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    except OSError as error:
        rule = f"--config-dir cannot be read: {error.strerror}"
        raise ConfigError([Problem(directory, 0, "", None, rule)]) from None
    return tuple(sorted(files, key=lambda path: path.name))
