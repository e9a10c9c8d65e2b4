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
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

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
        model: Model | None = _Spawned(_Rebind(self.bind, model_id, port)).answer()
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
        fork: by a copy of this process, which has half of what it needs already; only where there is but one thread.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, sources: Sequence[Path], *, env: Mapping[str, str], ports: PortBook, fork: bool = False) -> None:
        self._ports = ports
        self._since = ports.copy()
        question = _Load(tuple(sources), dict(env), self._since)
        self._other: _Process = _Forked(question) if fork else _Spawned(question)

    @property
    def pid(self) -> int:
        """The other process."""
        return self._other.pid

    def wait(self) -> Config:
        """The configuration; its ``rebind`` takes 0.3 s.

        Raises:
            ConfigError: with everything that is wrong.
            OSError: the process was ended by somebody, or by a fault of its own.
        """
        answer: _Loaded | tuple[Problem, ...] = self._other.answer()
        if not isinstance(answer, _Loaded):
            raise ConfigError(answer)
        self._ports.take_over(answer.ports, since=self._since)
        return answer.config


class _Process(Protocol):
    """Another process that was asked something."""

    pid: int

    def answer(self) -> Any:
        """What it says; raises OSError where it ends without a word (its traceback is on stderr)."""


class _Spawned:
    """A new one; raises OSError where none can be started."""

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
        self.pid = self._process.pid

    def answer(self) -> Any:
        output, _ = self._process.communicate()
        return _understood(output, self._process.returncode)


class _Forked:
    """A copy of this one; raises OSError where none can be started."""

    def __init__(self, question: _Question) -> None:
        reading, writing = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            raise
        if self.pid == 0:
            os.environ |= _LEAN
            _answer(question, writing)
        os.close(writing)
        self._reading = reading

    def answer(self) -> Any:
        with os.fdopen(self._reading, "rb") as pipe:
            output = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        return _understood(output, os.waitstatus_to_exitcode(status))


def _understood(output: bytes, status: int) -> Any:
    if status:
        raise ChildProcessError(f"the process that reads it ended with status {status}")
    return pickle.loads(output)  # noqa: S301 - from a process of ours, which runs this very code


def _answer(question: _Question, writing: int) -> NoReturn:
    """In the other process: say it, and end without tidying up."""
    # When the service is interrupted or gone it ends, too, without a word.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    status = 1
    try:
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(question.answer(), pipe)
        status = 0
    except Exception:  # noqa: BLE001 - nothing but this may happen in a copy of the service
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    """A process that was spawned: the question is on stdin, the answer goes to stdout."""
    question: _Question = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started us
    _answer(question, sys.stdout.fileno())
