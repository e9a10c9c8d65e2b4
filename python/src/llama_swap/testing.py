"""Fakes for tests of this package and of programs built on it: processes and memory without either."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llama_swap.footprint.facts import ModelFacts
from llama_swap.footprint.learned import RunFigures
from llama_swap.gpu import Device, Holder, Holding, HostMemory, MemoryReading, ProcessMemory
from llama_swap.process import ExitReport, LaunchFailed, LaunchSpec
from llama_swap.scheduler import commands
from llama_swap.scheduler.memory import UNKNOWN_NEED, Need
from llama_swap.scheduler.snapshot import Snapshot
from llama_swap.supervisor.ports import Senses


@dataclass(slots=True, eq=False)
class FakeProcess:
    """A process that does what a test says, when it says it.

    Attributes:
        container: process IDs that are its, too.
        obeys: it exits as soon as it is asked to; otherwise only when it is killed.
    """

    pid: int
    spec: LaunchSpec
    obeys: bool = True
    cannot_be_asked: OSError | None = None
    asked: list[str] = field(default_factory=list)
    container: frozenset[int] = frozenset()
    on_output: Callable[[str, bytes], None] = lambda _stream, _line: None
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _gone: asyncio.Event = field(default_factory=asyncio.Event)
    _report: ExitReport = field(default_factory=lambda: ExitReport("exit status 0", 0, None, ()))
    _readiness_error: Exception | None = None

    def pids(self) -> frozenset[int]:
        """The process itself."""
        return frozenset({self.pid})

    def owns(self, pid: int) -> bool:
        """Those that a test put into its container."""
        return pid in self.container

    def say(self, line: str) -> None:
        """Write a line."""
        self.on_output("stdout", line.encode())

    async def wait_ready(self) -> None:
        """Return after :meth:`become_ready`; raise what :meth:`fail_readiness` was given."""
        await self._ready.wait()
        if self._readiness_error is not None:
            raise self._readiness_error

    async def wait_exit(self) -> ExitReport:
        """Return after :meth:`exit`."""
        await self._gone.wait()
        return self._report

    def terminate(self) -> None:
        """Note the request; exit if the process obeys, raise ``cannot_be_asked`` if there is one."""
        if self.cannot_be_asked is not None:
            raise self.cannot_be_asked
        self.asked.append("terminate")
        if self.obeys:
            self.exit()

    def kill(self) -> None:
        """Note the request and exit."""
        self.asked.append("kill")
        self.exit("killed by SIGKILL")

    def become_ready(self) -> None:
        """Answer the readiness probe from now on."""
        self._ready.set()

    def fail_readiness(self, error: Exception) -> None:
        """Let :meth:`wait_ready` raise."""
        self._readiness_error = error
        self._ready.set()

    def exit(self, detail: str = "exit status 0", tail: tuple[str, ...] = (), *, out_of_memory: bool = False) -> None:
        """End the process."""
        self._report = ExitReport(detail, None, None, tail, out_of_memory)
        self._gone.set()


class FakeLauncher:
    """Starts :class:`FakeProcess` and remembers them, oldest first.

    Args:
        ready_at_once: each process is ready as soon as it is started.
    """

    def __init__(self, *, ready_at_once: bool = True) -> None:
        self.ready_at_once = ready_at_once
        self.processes: list[FakeProcess] = []
        self.failure: LaunchFailed | None = None
        self._launched = asyncio.Condition()

    async def launch(self, spec: LaunchSpec, *, on_output: Callable[[str, bytes], None]) -> FakeProcess:
        """Start a fake process, or raise ``failure``."""
        if self.failure is not None:
            raise self.failure
        process = FakeProcess(pid=1000 + len(self.processes), spec=spec, on_output=on_output)
        process.say(f"{spec.model} started")
        if self.ready_at_once:
            process.become_ready()
        async with self._launched:
            self.processes.append(process)
            self._launched.notify_all()
        return process

    async def wait_launched(self, count: int) -> FakeProcess:
        """The process number ``count`` (from 1), once it was started."""
        async with self._launched:
            await self._launched.wait_for(lambda: len(self.processes) >= count)
        return self.processes[count - 1]


class RecordingObserver:
    """An observer of the supervisor that keeps what it is told."""

    def __init__(self) -> None:
        self.decisions: list[commands.Decision] = []
        self.lines: list[tuple[str, bytes]] = []
        self.notices: list[tuple[str, str]] = []
        self.snapshots: list[Snapshot] = []
        self.needs: list[tuple[str, Need]] = []
        self.reads: list[tuple[str, int]] = []
        self.shortages: list[tuple[str, bool]] = []
        self.beats = 0

    def decided(self, command: commands.Decision) -> None:
        """Keep a decision."""
        self.decisions.append(command)

    def output(self, model: str, stream: str, line: bytes) -> None:  # noqa: ARG002 - the stream is of no interest here
        """Keep a line."""
        self.lines.append((model, line))

    def noticed(self, model: str, text: str) -> None:
        """Keep a warning."""
        self.notices.append((model, text))

    def assessed(self, model: str, need: Need) -> None:
        """Keep a need."""
        self.needs.append((model, need))

    def read_ahead(self, model: str, bytes_read: int, seconds: float) -> None:  # noqa: ARG002 - it takes what it takes
        """Keep what was read."""
        self.reads.append((model, bytes_read))

    def ran_out_of_memory(self, model: str, *, loading: bool) -> None:
        """Keep who ran out of memory."""
        self.shortages.append((model, loading))

    def changed(self, snapshot: Snapshot) -> None:
        """Keep a snapshot."""
        self.snapshots.append(snapshot)

    def beat(self) -> None:
        """Count."""
        self.beats += 1


@dataclass(frozen=True, slots=True)
class FakeExamined:
    """A model by its name and files."""

    identity: str
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class FakeRead:
    """How much was brought into memory."""

    bytes_read: int
    seconds: float = 0.5


class FakeMemory:
    """The memory of a machine that a test makes up; give its :meth:`senses` to a supervisor.

    Attributes:
        devices: as they are while nobody has taken anything.
        host: the machine's own.
        taken: process ID -> index of the device -> bytes.
        needs: model -> what is said about it; unknown where nothing is.
        files: model -> what is read ahead.
        failure: raised by everything, if there is one.
        recorded, raised: what was learned, by identity.
        saves: how often it was kept.
        read_files, cancels: what was read ahead, and how often that was stopped.
    """

    def __init__(self, *devices: Device) -> None:
        self.devices = devices
        self.host: HostMemory | None = HostMemory(64 << 30, 48 << 30)
        self.taken: dict[int, dict[int, int]] = {}
        self.needs: dict[str, Need] = {}
        self.files: dict[str, tuple[Path, ...]] = {}
        self.failure: Exception | None = None
        self.recorded: list[tuple[str, RunFigures]] = []
        self.raised: list[tuple[str, int, int]] = []
        self.read_files: list[tuple[Path, ...]] = []
        self.reads = self.saves = self.cancels = 0

    def senses(self) -> Senses:
        """Everything that a supervisor knows about memory."""
        return Senses(memory=self, needs=self, figures=self, ahead=_FakeAhead(self), sees=lambda _device: True)

    async def read(self, holders: Mapping[int, Holder]) -> MemoryReading:
        """What the processes of these holders have been given."""
        if self.failure is not None:
            raise self.failure
        self.reads += 1
        shares = {
            instance: {d.index: sum(self.taken.get(p, {}).get(d.index, 0) for p in holder.pids()) for d in self.devices}
            for instance, holder in holders.items()
        }
        holdings = {instance: Holding(ProcessMemory(1 << 20, 2 << 20), share) for instance, share in shares.items()}
        return MemoryReading(time.monotonic(), self.host, tuple(map(self._now, self.devices)), holdings)

    def _now(self, device: Device) -> Device:
        """A device with what all processes have taken of it."""
        taken = sum(shares.get(device.index, 0) for shares in self.taken.values())
        return replace(device, used_bytes=(device.used_bytes or 0) + taken, free_bytes=(device.free_bytes or 0) - taken)

    async def assess(self, facts: ModelFacts, *, most_bytes: int | None = None) -> Need:  # noqa: ARG002 - as the port has it
        """What the test says."""
        if self.failure is not None:
            raise self.failure
        return self.needs.get(facts.model, UNKNOWN_NEED)

    async def examine(self, facts: ModelFacts) -> FakeExamined:
        """A model is known by its name."""
        if self.failure is not None:
            raise self.failure
        return FakeExamined(facts.model, self.files.get(facts.model, ()))

    def record(self, identity: str, figures: RunFigures) -> None:
        """Keep them."""
        self.recorded.append((identity, figures))

    def raise_(self, identity: str, device_bytes: int, host_bytes: int = 0) -> None:
        """Keep it."""
        self.raised.append((identity, device_bytes, host_bytes))

    def save(self) -> None:
        """Count, or fail."""
        if isinstance(self.failure, OSError):
            raise self.failure
        self.saves += 1


class _FakeAhead:
    """The part that reads files."""

    def __init__(self, memory: FakeMemory) -> None:
        self._memory = memory

    async def read(self, files: Sequence[Path]) -> FakeRead:
        """Note them."""
        self._memory.read_files.append(tuple(files))
        return FakeRead(1 << 30)

    def cancel(self) -> None:
        """Count."""
        self._memory.cancels += 1
