"""What the supervisor needs of the world: who starts processes, knows about memory, and is told what happens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llama_swap.footprint.facts import ModelFacts
from llama_swap.footprint.learned import RunFigures
from llama_swap.gpu import Device, Holder, MemoryReading
from llama_swap.process import ExitReport, LaunchSpec
from llama_swap.scheduler import commands
from llama_swap.scheduler.memory import Need
from llama_swap.scheduler.snapshot import Snapshot


class Examined(Protocol):
    """Who a model is, to remember figures by, and which files it reads."""

    @property
    def identity(self) -> str:
        """Changes with the command, the program and the files."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Weights first."""


class Read(Protocol):
    """What was brought into memory."""

    @property
    def bytes_read(self) -> int:
        """Of files."""

    @property
    def seconds(self) -> float:
        """That it took."""


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

    def pids(self) -> frozenset[int]:
        """Its process and everything it started; asked in another thread."""

    def owns(self, pid: int) -> bool:
        """Whether another process is its, too (in a container); asked in another thread, also after its end."""


class StartsProcesses(Protocol):
    """What the supervisor needs of a launcher (:class:`llama_swap.process.Launcher`)."""

    async def launch(self, spec: LaunchSpec, *, on_output: OnOutput) -> RunningProcess:
        """Start the command; raises LaunchFailed."""


class ReadsMemory(Protocol):
    """What the supervisor needs of a watch over memory (:class:`llama_swap.gpu.MemoryWatch`)."""

    async def read(self, holders: Mapping[int, Holder]) -> MemoryReading:
        """All memory, in a reading that began after this call."""


class AssessesNeeds(Protocol):
    """Who says what a model needs (:class:`llama_swap.footprint.assess.Assessor`); neither method raises."""

    async def assess(self, facts: ModelFacts, *, most_bytes: int | None = None) -> Need:
        """By the best source there is, and not more than all devices have together."""

    async def examine(self, facts: ModelFacts) -> Examined:
        """Who this model is, to remember figures by, and which files it reads."""


class KeepsFigures(Protocol):
    """What the supervisor needs of a store of learned figures (:class:`llama_swap.footprint.learned.LearnedStore`)."""

    def record(self, identity: str, figures: RunFigures) -> None:
        """Remember what a run took."""

    def raise_(self, identity: str, device_bytes: int, host_bytes: int = 0) -> None:
        """Remember that a run had too little."""

    def save(self) -> None:
        """Write what is new; blocks, and raises OSError."""


class ReadsAhead(Protocol):
    """Who brings files into memory (:class:`llama_swap.footprint.prefetch.ReadAhead`)."""

    async def read(self, files: Sequence[Path]) -> Read:
        """Read them, as far as there is room; a newer call stops an older one."""

    def cancel(self) -> None:
        """Stop reading."""


@dataclass(frozen=True, slots=True)
class Senses:
    """What the supervisor knows about memory by.

    Attributes:
        sees: whether the processes that it starts can use a device.
    """

    memory: ReadsMemory
    needs: AssessesNeeds
    figures: KeepsFigures
    ahead: ReadsAhead
    sees: Callable[[Device], bool]


class Observer(Protocol):
    """Who is told what the supervisor does: the logs and the service manager's status line."""

    def decided(self, command: commands.Decision) -> None:
        """One decision of the scheduler is about to be performed."""

    def output(self, model: str, stream: str, line: bytes) -> None:
        """A model's process wrote a line."""

    def noticed(self, model: str, text: str) -> None:
        """Something about a model is not as it should be, but goes on."""

    def assessed(self, model: str, need: Need) -> None:
        """It is known what a model needs, or that it is not."""

    def read_ahead(self, model: str, bytes_read: int, seconds: float) -> None:
        """Files of a model were brought into memory before its start."""

    def ran_out_of_memory(self, model: str, *, loading: bool) -> None:
        """A model's process ended because memory ran out."""

    def changed(self, snapshot: Snapshot) -> None:
        """The set of instances or their phases changed."""

    def beat(self) -> None:
        """The supervisor's loop is alive."""
