"""Notice the end of a process through its pidfd (pidfd_open(2), Linux 5.3): no thread, no polling, no SIGCHLD."""

import asyncio
import os
import signal
from collections.abc import Callable


class ExitWatch:
    """Calls back once from the loop when a process has ended; whoever is its parent has to reap it still.

    Raises:
        ProcessLookupError: there is no such process, not even a zombie.
    """

    __slots__ = ("_fd", "_loop", "_on_exit", "pid")

    def __init__(self, pid: int, on_exit: Callable[[], None]) -> None:
        self.pid = pid
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._fd = os.pidfd_open(pid)
        self._loop.add_reader(self._fd, self._ended)

    def send(self, signum: signal.Signals) -> None:
        """Signals this very process, whatever has become of its ID.

        Raises:
            PermissionError: it runs as somebody else.
        """
        if self._fd < 0:
            return
        try:
            signal.pidfd_send_signal(self._fd, signum)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Forgets the process; may be called again."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _ended(self) -> None:
        self.close()
        self._on_exit()
