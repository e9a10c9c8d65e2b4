"""One child process: ready, asked to end, killed, gone.

The end is a small machine driven by exits, not a task: when the main process has ended, :meth:`ChildProcess._sweep`
looks for what is left of its tree, kills it and waits for it, and looks again until nothing is left. Only then is the
child gone. While a polite stop runs (``terminate`` and not yet ``kill``) two kinds of processes keep the rest of their
grace: those in the group, which got the SIGTERM too, and ``cmdStop``, which may still clean up.
"""

import asyncio
import signal
from collections.abc import Callable, Mapping

from llama_swap.process.container import container_of
from llama_swap.process.output import LineReader, OutputTail
from llama_swap.process.procfs import ProcessStat
from llama_swap.process.readiness import wait_until_ready
from llama_swap.process.spawn import Spawned
from llama_swap.process.spec import ExitReport, LaunchFailed, LaunchSpec
from llama_swap.process.stop import StopCommand
from llama_swap.process.tree import ProcessTree
from llama_swap.process.watch import ExitWatch

OnOutput = Callable[[str, bytes], None]
_SHELL_SIGNAL = 128


class ChildProcess:
    """One run of a command. Made by :meth:`llama_swap.process.Launcher.launch`.

    Attributes:
        pid: the process ID of the command, which is also the ID of its session and group.
        tree: the command and everything it started.
    """

    def __init__(  # noqa: PLR0913  (what the launcher made for it; nobody else calls this)
        self,
        spec: LaunchSpec,
        main: Spawned,
        *,
        tree: ProcessTree,
        environment: Mapping[str, str],
        on_output: OnOutput,
        on_gone: Callable[[], None],
    ) -> None:
        self.pid = main.pid
        self._spec = spec
        self._main = main
        self.tree = tree
        self._environment = environment
        self._on_output = on_output
        self._on_gone = on_gone
        self._container = container_of(spec.argv, environment)
        self._tail = OutputTail()
        self._spoke = asyncio.Event()
        self._gone = asyncio.Event()
        self._returncode: int | None = None
        self._asked = False
        self._killed = False
        self._short_of_memory = False
        self._signalled = False
        self._stop: StopCommand | None = None
        self._leftovers: dict[int, ExitWatch] = {}
        self._untouchable: set[int] = set()
        self._sweep_due = False
        self._watch = ExitWatch(main.pid, self._main_ended)  # first: the only one that can fail
        self._readers = (
            LineReader(main.stdout, lambda line: self._line("stdout", line)),
            LineReader(main.stderr, lambda line: self._line("stderr", line)),
        )

    # --- what the caller does -------------------------------------------------

    async def wait_ready(self) -> None:
        """Returns when the check endpoint answers 200; at once when there is none.

        Never returns when the process ends first: race it with :meth:`wait_exit` and a time-out.

        Raises:
            NotReady: a process that is not ours has the port.
        """
        if self._spec.check_endpoint is not None:
            await wait_until_ready(self._spec, self.tree, self._spoke, lambda: self._returncode is not None)

    async def wait_exit(self) -> ExitReport:
        """Returns when the process and everything it started are gone and reaped; any number may wait."""
        await self._gone.wait()
        code = self._returncode or 0
        return ExitReport(
            detail=self._detail(code),
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            output_tail=self._tail.lines(),
            out_of_memory=self._short_of_memory,
        )

    def _detail(self, code: int) -> str:
        text = f"killed by {_signal_name(-code)}" if code < 0 else f"exit status {code}"
        return f"{text}: the kernel ended it because memory ran out" if self._short_of_memory else text

    def terminate(self) -> None:
        """Asks it to end: ``cmdStop`` in the background, else SIGTERM to its group. Only the first call counts."""
        if self._asked or self._killed or self._returncode is not None:
            return
        self._asked = True
        self.tree.members()  # remembered: some may lose their parent, and with it their place, while they stop
        if self._spec.stop_argv is None:
            self._signal_term()
            return
        try:
            self._stop = StopCommand(self._spec, self.pid, self._environment, self._line, self._stop_ended)
        except LaunchFailed as failure:
            self._complain(f"cmdStop: {failure}; sending SIGTERM")
            self._signal_term()

    def kill(self) -> None:
        """Ends it and everything it started at once (SIGKILL); may be called again."""
        if self._gone.is_set():
            return
        self._killed = True
        if not self._main.signal_group(signal.SIGKILL):
            self._complain(f"process {self.pid} runs as another user and cannot be ended")
        self.tree.kill_cgroup()
        if self._stop is not None:
            self._stop.kill()
        self._sweep()

    def pids(self) -> frozenset[int]:
        """Its process and everything it started, as far as it runs; may be asked in another thread."""
        return self.tree.living()

    def owns(self, pid: int) -> bool:
        """Whether another process is its too: in the container that it started. Also after its end, in any thread."""
        return self.tree.marks(pid) or (self._container is not None and self._container.holds(pid))

    def waited_for(self) -> set[int]:
        """The process IDs whose exit status this child takes itself: the command and ``cmdStop``."""
        return {self.pid} if self._stop is None else {self.pid, self._stop.pid}

    # --- what happens ---------------------------------------------------------

    def _line(self, stream: str, line: bytes) -> None:
        self._tail.add(line)
        self._spoke.set()
        self._on_output(stream, line)

    def _signal_term(self) -> None:
        self._signalled = True
        if not self._main.signal_group(signal.SIGTERM):
            self._complain(f"process {self.pid} runs as another user and cannot be asked to end; give it a cmdStop")

    def _complain(self, text: str) -> None:
        self._line("stderr", f"llama-swap: {text}".encode())

    def _main_ended(self) -> None:
        # Killed before it is reaped: until then its ID cannot belong to anybody else's group.
        if not self._is_polite():
            self._main.signal_group(signal.SIGKILL)
        self._returncode = self._main.reap()
        self._short_of_memory = self._looks_killed() and self.tree.is_short_of_memory()
        self._sweep()

    def _looks_killed(self) -> bool:
        """By SIGKILL, and not by us; a shell tells the same of its child by its exit status."""
        return not self._killed and self._returncode in (-signal.SIGKILL, _SHELL_SIGNAL + signal.SIGKILL)

    def _stop_ended(self, problem: str | None) -> None:
        if problem is not None and self._returncode is None and not self._killed:
            self._complain(f"cmdStop: {problem}; sending SIGTERM")
            self._signal_term()
        self._sweep_soon()

    def _leftover_ended(self, pid: int) -> None:
        self._leftovers.pop(pid, None)
        self._sweep_soon()

    def _is_polite(self) -> bool:
        return self._asked and not self._killed

    def _keeps_grace(self, stat: ProcessStat) -> bool:
        if not self._is_polite():
            return False
        if self._stop is not None and self._stop.is_running:
            return stat.session in (self.pid, self._stop.pid)
        return self._signalled and stat.group == self.pid

    def _sweep_soon(self) -> None:
        """One look for any number of exits in one pass of the loop."""
        if not self._sweep_due and not self._gone.is_set():
            self._sweep_due = True
            asyncio.get_running_loop().call_soon(self._sweep)

    def _sweep(self) -> None:
        self._sweep_due = False
        if self._gone.is_set():
            return
        alive = [stat for stat in self.tree.reap(spare=self.waited_for()) if stat.pid not in self._untouchable]
        ended = self._returncode is not None
        for stat in alive:
            if (ended or self._killed) and stat.pid != self.pid:
                self._follow(stat, kill=not self._keeps_grace(stat))
        if ended and not self._leftovers and (self._stop is None or not self._stop.is_running):
            self._finish()

    def _follow(self, stat: ProcessStat, *, kill: bool) -> None:
        """Watches a left-over process until it has ended, and ends it unless it still has its grace."""
        try:
            watch = self._leftovers.get(stat.pid)
            if watch is None:
                watch = ExitWatch(stat.pid, lambda: self._leftover_ended(stat.pid))
                self._leftovers[stat.pid] = watch
            if kill:
                watch.send(signal.SIGKILL)
        except ProcessLookupError:
            self._sweep_soon()
        except PermissionError:
            self._untouchable.add(stat.pid)
            self._leftovers.pop(stat.pid).close()
            self._complain(f"process {stat.pid} runs as another user and cannot be ended")

    def _finish(self) -> None:
        try:
            for reader in (*self._readers, *(self._stop.readers if self._stop else ())):
                reader.finish()
        finally:
            self._gone.set()
            self._watch.close()
            self.tree.close()
            self._on_gone()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
