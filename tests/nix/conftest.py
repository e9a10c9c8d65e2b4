"""The module and the flake, evaluated by real Nix with the real ``nixpkgs.lib``, in a store of the test run's own."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
STUB = ROOT / "tests" / "nix" / "stub"
# No sandbox and no substituters: the derivations of the stub need only /bin/sh and python3.
SETTINGS = (
    "sandbox = false",
    "build-users-group =",
    "substitute = false",
    "experimental-features = nix-command flakes",
)


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


class NixError(Exception):
    """Nix refused an expression."""


class Nix:
    """Nix with a private store: nothing is written outside the folder, so neither root nor a daemon is needed."""

    Error = NixError

    def __init__(self, folder: Path) -> None:
        self.environment = {
            **os.environ,
            "NIX_STORE_DIR": str(folder / "store"),
            "NIX_STATE_DIR": str(folder / "var"),
            "NIX_LOG_DIR": str(folder / "log"),
            "NIX_REMOTE": "",
            "NIX_CONFIG": "\n".join(SETTINGS),
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Nix in the repository."""
        return _run(list(command), self.environment)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression; `lib` and `pkgs` (the stub) are in scope.

        Raises:
            NixError: with Nix's message, if the expression cannot be evaluated.
        """
        text = f"let lib = import <nixpkgs/lib>; pkgs = import {STUB}/pkgs.nix {{ inherit lib; }}; in {expression}"
        done = self.run("nix-instantiate", "--eval", "--strict", "--json", "--expr", text)
        if done.returncode:
            raise NixError(done.stderr)
        return json.loads(done.stdout)

    def machine(self, module: str, wanted: str = "config.services.llama-swap.settings") -> Any:
        """Evaluate a module beside ours and return a part of the result (`config`, `options`)."""
        return self.evaluate(
            f"let result = import {STUB}/evaluate.nix {{ inherit lib pkgs; }} [ ({module}) ];"
            f" inherit (result) config options; in {wanted}"
        )

    def swap(self, settings: str, wanted: str = "config.services.llama-swap.settings") -> Any:
        """Like :meth:`machine`, for the inside of ``services.llama-swap = { enable = true; ... }``."""
        return self.machine(f"{{ services.llama-swap = {{ enable = true; {settings} }}; }}", wanted)

    def unit(self, settings: str = "", host: str = "") -> Any:
        """The service as the module defines it, beside settings of the host."""
        return self.machine(
            f"{{ {host} services.llama-swap = {{ enable = true; {settings} }}; }}", "config.systemd.services.llama-swap"
        )


@pytest.fixture(scope="session")
def nix(tmp_path_factory) -> Nix:
    """Nix, or a skip that says what is missing."""
    if shutil.which("nix-instantiate") is None:
        pytest.skip("Nix is not installed (no nix-instantiate on PATH)")
    found = Nix(tmp_path_factory.mktemp("nix"))
    probe = found.run("nix-instantiate", "--eval", "--expr", "(import <nixpkgs/lib>).version")
    if probe.returncode:
        pytest.skip("nixpkgs' lib was not found: <nixpkgs/lib> resolves through NIX_PATH or a channel")
    return found


@pytest.fixture(scope="session")
def argv_of(nix) -> Callable[[str], list[str]]:
    """The words of the command of model `m` as the service will split them; of the program only its name."""
    from llama_swap.config.argv import split_command  # noqa: PLC0415 - tests without Nix need no service

    def words(settings: str) -> list[str]:
        command = nix.swap(settings)["models"]["m"]["cmd"]
        program, *arguments = split_command(command)
        return [Path(program).name, *arguments]

    return words
