"""What the supervisor needs of the world: who starts processes, and who is told what happens."""

from collections.abc import Callable
from typing import Protocol

from llama_swap.process import ExitReport, LaunchSpec
from llama_swap.scheduler import commands
from llama_swap.scheduler.snapshot import Snapshot

OnOutput = Callable[[str, bytes], None]


class RunningProcess(Protocol):
    """What the supervisor needs of a child process (:class:`llama_swap.process.ChildProcess`)."""

    @property
    def pid(self) -> int:
        """The process ID of the command itself."""

    async def wait_ready(self) -> None:
        """Return when the readiness probe succeeds; raises NotReady when it never can."""

    async def wait_exit(self) -> ExitReport:
        """Return when the process and everything it started are gone."""

    def terminate(self) -> None:
        """Ask it to end (``cmdStop`` or SIGTERM)."""

    def kill(self) -> None:
        """End it and everything it started at once."""


class StartsProcesses(Protocol):
    """What the supervisor needs of a launcher (:class:`llama_swap.process.Launcher`)."""

    async def launch(self, spec: LaunchSpec, *, on_output: OnOutput) -> RunningProcess:
        """Start the command; raises LaunchFailed."""


class Observer(Protocol):
    """Who is told what the supervisor does: the logs and the service manager's status line."""

    def decided(self, command: commands.Decision) -> None:
        """One decision of the scheduler is about to be performed."""

    def output(self, model: str, stream: str, line: bytes) -> None:
        """A model's process wrote a line."""

    def noticed(self, model: str, text: str) -> None:
        """Something about a model is not as it should be, but goes on."""

    def changed(self, snapshot: Snapshot) -> None:
        """The set of instances or their phases changed."""

    def beat(self) -> None:
        """The supervisor's loop is alive."""
