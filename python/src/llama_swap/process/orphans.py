"""Reap what we adopted as child subreaper, and nobody else's child.

Any part of the service may start a process and wait for it, so only zombies that are certainly orphans are reaped:
those of a tree of ours. All children run in sessions of their own and cannot return to ours, so a zombie in our own
session is always somebody's. One in a foreign session that no tree claims is reaped only after a minute, when whoever
had started it would have asked.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from types import FrameType

from llama_swap.process.procfs import ProcessStat, children_of, read_stat
from llama_swap.process.tree import ProcessTree

STRAY_SECONDS = 60.0
Handler = Callable[[int, FrameType | None], object] | int | None


class OrphanReaper:
    """Looks at our zombies whenever one appears.

    Args:
        trees: the trees of all children there are now.
        spared: the process IDs that a child or the guardian waits for itself.
    """

    def __init__(self, trees: Callable[[], Iterable[ProcessTree]], spared: Callable[[], Collection[int]]) -> None:
        self._trees = trees
        self._spared = spared
        self._strays: dict[tuple[int, int], float] = {}
        self._loop = asyncio.get_running_loop()
        self._previous: Handler = signal.SIG_DFL
        self._is_listening = False

    def start(self) -> None:
        """Begins to listen to SIGCHLD; outside the main thread only the children's own ends are noticed.

        Not by ``loop.add_signal_handler``: uvloop refuses this signal. Both loops run Python's own handlers in time.
        """
        with suppress(ValueError):
            self._previous = signal.signal(signal.SIGCHLD, self._on_sigchld)
            signal.siginterrupt(signal.SIGCHLD, False)  # noqa: FBT003  (no keyword there)
            self._is_listening = True

    def stop(self) -> None:
        """Listens no longer."""
        if self._is_listening:
            signal.signal(signal.SIGCHLD, self._previous or signal.SIG_DFL)
            self._is_listening = False

    def _on_sigchld(self, _signum: int, _frame: FrameType | None) -> None:
        """Runs between any two instructions of the main thread, so it leaves the work to the loop."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.sweep)

    def sweep(self) -> None:
        """Reaps every zombie that is certainly an orphan."""
        spared = self._spared()
        stats = [stat for pid in children_of(os.getpid()) if pid not in spared and (stat := read_stat(pid))]
        strays = {}
        for stat in (stat for stat in stats if stat.is_zombie and stat.session != os.getsid(0)):
            if self._is_ours(stat) or self._is_old(stat):
                with suppress(ChildProcessError):
                    os.waitpid(stat.pid, os.WNOHANG)
            else:
                key = (stat.pid, stat.start_ticks)
                strays[key] = self._strays.get(key, self._loop.time())
        self._strays = strays

    def _is_ours(self, stat: ProcessStat) -> bool:
        return any(tree.claims(stat) for tree in self._trees())

    def _is_old(self, stat: ProcessStat) -> bool:
        since = self._strays.get((stat.pid, stat.start_ticks))
        return since is not None and self._loop.time() - since > STRAY_SECONDS
