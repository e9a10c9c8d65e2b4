"""A configuration read by another process, which takes the schema with it when it ends.

The schema and its library are 12 MB of memory and 0.2 s of a start, and the service needs them for moments: when it
starts, when it reloads, and when a model's port was taken by somebody else. In another process they are used while the
service imports what it needs itself, keep no stream waiting, and are gone afterwards.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from llama_swap.config.ports import PortBook
from llama_swap.config.problems import ConfigError, Problem
from llama_swap.config.values import Config, Model

# It finds modules where we find them, also where a wrapper and not the environment says so. It is used once, so
# nothing has to be tidied up in it.
_CODE: Final = (
    "import gc, sys; gc.disable(); sys.path[:] = sys.argv[1:]; from llama_swap.config import apart; apart.main()"
)
# It would look through all that is installed for extensions of itself.
_LEAN: Final = {"PYDANTIC_DISABLE_PLUGINS": "__all__"}


class _Question(Protocol):
    """What the other process is asked."""

    def answer(self) -> Any:
        """To be called there; everything here and what it returns goes through a pipe."""


@dataclass(frozen=True, slots=True)
class _Load:
    """Read, check and compile the sources."""

    sources: Sequence[Path]
    env: Mapping[str, str]
    ports: PortBook

    def answer(self) -> "_Loaded | tuple[Problem, ...]":
        from llama_swap.config.load import load_config  # noqa: PLC0415 - only the other process has the schema

        try:
            config = load_config(self.sources, env=self.env, ports=self.ports)
        except ConfigError as error:
            return error.problems
        return _Loaded(replace(config, bind=_Rebinding(pickle.dumps(config.bind))), self.ports)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A configuration, and the ports that its models were given."""

    config: Config
    ports: PortBook


@dataclass(frozen=True, slots=True)
class _Rebinding:
    """``Config.bind`` in the service: what another process needs for it."""

    bind: bytes

    def __call__(self, model_id: str, port: int) -> Model:
        """Takes 0.3 s; raises KeyError, or OSError where no process can be started."""
        model: Model | None = _Asked(_Rebind(self.bind, model_id, port)).answer()
        if model is None:
            raise KeyError(model_id)
        return model


@dataclass(frozen=True, slots=True)
class _Rebind:
    """Render a model with another port; None for a model that there is not."""

    bind: bytes
    model_id: str
    port: int

    def answer(self) -> Model | None:
        try:
            model: Model = pickle.loads(self.bind)(self.model_id, self.port)  # noqa: S301 - made by ourselves
        except KeyError:
            return None
        return model


class Loading:
    """A load that has begun; the other process works while we go on.

    Args:
        sources: from :func:`llama_swap.config.config_sources`.
        env: for ``${env.X}``.
        ports: the one of the service, so that a reload keeps ports; untouched if the configuration is wrong.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, sources: Sequence[Path], *, env: Mapping[str, str], ports: PortBook) -> None:
        self._ports = ports
        self._since = ports.copy()
        self._asked = _Asked(_Load(tuple(sources), dict(env), self._since))

    def wait(self) -> Config:
        """The configuration; its ``rebind`` takes 0.3 s.

        Raises:
            ConfigError: with everything that is wrong.
            OSError: the process was ended by somebody, or by a fault of its own.
        """
        answer: _Loaded | tuple[Problem, ...] = self._asked.answer()
        if not isinstance(answer, _Loaded):
            raise ConfigError(answer)
        self._ports.take_over(answer.ports, since=self._since)
        return answer.config


class _Asked:
    """A question on its way to another process; raises OSError where none can be started."""

    def __init__(self, question: _Question) -> None:
        # Not a pipe: that is too small for a large environment, and we would have to wait until somebody reads.
        with os.fdopen(os.memfd_create("question"), "w+b") as stdin:
            pickle.dump(question, stdin)
            stdin.seek(0)
            self._process = subprocess.Popen(
                [sys.executable or "python3", "-c", _CODE, *sys.path],
                stdin=stdin,
                stdout=subprocess.PIPE,
                env={**os.environ, **_LEAN},
            )

    def answer(self) -> Any:
        """What it says; raises OSError where it ends without a word (its traceback is on stderr)."""
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise ChildProcessError(f"the process that reads it ended with status {self._process.returncode}")
        return pickle.loads(output)  # noqa: S301 - from a process of ours, which runs this very code


def main() -> None:
    """The other process: the question is on stdin, the answer goes to stdout."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # at a terminal the interrupt is the service's; no traceback of ours
    question: _Question = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started us
    sys.stdout.buffer.write(pickle.dumps(question.answer()))
    sys.stdout.buffer.flush()
    os._exit(0)
