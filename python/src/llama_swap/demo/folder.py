"""The folder of the demo: two tiny models and a configuration as a user would write it."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from llama_swap.demo.tiny_gguf import TinyModel, write_tiny_model

ALPHA = TinyModel(
    name="tiny-alpha",
    sentence="Hello from tiny-alpha, the first of two very small models that live behind one endpoint.",
    seed=1,
)
BETA = TinyModel(
    name="tiny-beta",
    sentence="Greetings! This is tiny-beta speaking: your request just made llama-swap start me in place of another.",
    seed=2,
)

_CONFIG = """\
# Written by `make demo`, anew at every start: copy it before you change it.

macros:
  server: {server}
  models: {models}

# How long a model may take to load and to get ready.
healthCheckTimeout: 60

# Aliases are listed by /v1/models too.
includeAliasesInList: true

# Two models that are in no group replace each other: one runs, the other starts when a request names it.
models:
  tiny-alpha:
    name: Tiny Alpha
    description: says hello, whatever it is asked
    aliases: [alpha]
    # Unload after five minutes without a request.
    ttl: 300
    cmd: |
      ${{server}}
      --model ${{models}}/tiny-alpha.gguf
      --alias ${{MODEL_ID}}
      --host 127.0.0.1 --port ${{PORT}}
      --ctx-size 8192
      # More threads than a model so small can use only wait for each other.
      --threads 1

  tiny-beta:
    name: Tiny Beta
    description: says what just happened
    ttl: 300
    cmd: |
      ${{server}}
      --model ${{models}}/tiny-beta.gguf
      --alias ${{MODEL_ID}}
      --host 127.0.0.1 --port ${{PORT}}
      --ctx-size 8192
      --threads 1
"""


class DemoError(Exception):
    """The demo cannot run here; the message says why and what to do."""


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where the demo keeps its files, by the XDG base directory specification."""
    cache = environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"
    return base / "llama-swap-demo"


def upstream_command(environ: Mapping[str, str]) -> list[str]:
    """The server that runs the models: ``LLAMA_SERVER``, ``llama-server`` on PATH, or the embedded one.

    Returns:
        The start of its command line; the program is an absolute path.

    Raises:
        DemoError: if ``LLAMA_SERVER`` names no program.
    """
    path = environ.get("PATH", os.defpath)
    if named := environ.get("LLAMA_SERVER"):
        found = shutil.which(named, path=path)
        if found is None:
            raise DemoError(f"LLAMA_SERVER names no program: {named}")
        return [str(Path(found).absolute())]
    if found := shutil.which("llama-server", path=path):
        return [str(Path(found).absolute())]
    return embedded_command()


def embedded_command() -> list[str]:
    """The embedded server of this installation."""
    script = Path(sys.executable).parent / "llama-swap-embedded-server"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "llama_swap.demo.server"]


def write_demo(folder: Path, upstream: list[str]) -> Path:
    """Write both models and the configuration.

    Args:
        folder: made if it does not exist.
        upstream: the start of the command line that serves a model.

    Returns:
        The path of the configuration.

    Raises:
        DemoError: if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for model in (ALPHA, BETA):
            write_tiny_model(folder / f"{model.name}.gguf", model)
        config = folder / "config.yaml"
        config.write_text(config_text(folder, upstream), encoding="utf-8")
    except OSError as error:
        raise DemoError(f"cannot write the files of the demo: {error}") from error
    return config


def config_text(folder: Path, upstream: list[str]) -> str:
    """The configuration as YAML; a JSON string is a YAML string too, whatever a path contains."""
    return _CONFIG.format(server=json.dumps(shlex.join(upstream)), models=json.dumps(shlex.quote(str(folder))))
