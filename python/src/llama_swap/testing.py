"""Fakes for tests of this package and of programs built on it: processes without processes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from llama_swap.process import ExitReport, LaunchFailed, LaunchSpec
from llama_swap.scheduler import commands
from llama_swap.scheduler.snapshot import Snapshot


@dataclass(slots=True, eq=False)
class FakeProcess:
    """A process that does what a test says, when it says it.

    Attributes:
        obeys: it exits as soon as it is asked to; otherwise only when it is killed.
    """

    pid: int
    spec: LaunchSpec
    obeys: bool = True
    cannot_be_asked: OSError | None = None
    asked: list[str] = field(default_factory=list)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _gone: asyncio.Event = field(default_factory=asyncio.Event)
    _report: ExitReport = field(default_factory=lambda: ExitReport("exit status 0", 0, None, ()))
    _readiness_error: Exception | None = None

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

    def exit(self, detail: str = "exit status 0", tail: tuple[str, ...] = ()) -> None:
        """End the process."""
        self._report = ExitReport(detail, None, None, tail)
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
        process = FakeProcess(pid=1000 + len(self.processes), spec=spec)
        on_output("stdout", f"{spec.model} started".encode())
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

    def changed(self, snapshot: Snapshot) -> None:
        """Keep a snapshot."""
        self.snapshots.append(snapshot)

    def beat(self) -> None:
        """Count."""
        self.beats += 1
