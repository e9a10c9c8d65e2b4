"""The guardian: a second process that ends every child when the service dies without having done so.

It is a shell that waits at the end of a pipe (1 MB, no CPU) whose other end only the service holds. ``bye`` on the pipe
is a clean end; a pipe that ends without it means that the service was killed, and then the shell becomes
:mod:`llama_swap.process.last_rites`. What that needs to know is in a memory file that both share, so telling it about a
child costs one write.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llama_swap.process.watch import ExitWatch

RESTART_SECONDS = 1.0
_WAIT = 'trap "" HUP INT QUIT TERM; read -r word; [ "$word" = bye ] || exec "$@"'


@dataclass(frozen=True, slots=True)
class Ward:
    """A child under guard.

    Attributes:
        pid: its process, session and group ID.
        start_ticks: when it started, so that an ID used again is not mistaken for it.
        cgroup: its group's folder, empty when it has none.
    """

    pid: int
    start_ticks: int
    cgroup: str


class Guardian:
    """Starts with the first ward; a guardian that dies is replaced at once, unless it lives for no time at all."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: ExitWatch | None = None
        self._registry = -1
        self._started_at = 0.0

    @property
    def pid(self) -> int | None:
        """The process ID of the guardian, None while there is none."""
        return None if self._process is None else self._process.pid

    def watch_over(self) -> None:
        """Starts it unless it runs.

        Raises:
            OSError: it cannot be started.
        """
        if self._registry < 0:
            self._registry = os.memfd_create("llama-swap-wards")
        if self._process is None:
            self._start()

    def protect(self, wards: Iterable[Ward]) -> None:
        """Tells it all children there are now.

        Args:
            wards: every child; replaces what was told before.
        """
        text = "".join(f"{ward.pid} {ward.start_ticks} {ward.cgroup}\n" for ward in wards).encode()
        os.pwrite(self._registry, text, 0)
        os.ftruncate(self._registry, len(text))

    def dismiss(self) -> None:
        """A clean end: it leaves at once."""
        if self._watch is not None:
            self._watch.close()
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.write(b"bye\n")
            with suppress(OSError):
                self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)  # it has one word to read
            self._process = None
        if self._registry >= 0:
            os.close(self._registry)
            self._registry = -1

    def _start(self) -> None:
        script = str(Path(__file__).with_name("last_rites.py"))
        rites = [sys.executable or "python3", "-I", "-S", script, self._token, str(self._registry)]
        shell = shutil.which("sh", path="/bin:/usr/bin:" + os.environ.get("PATH", ""))
        self._process = subprocess.Popen(
            [shell, "-c", _WAIT, "llama-swap-guardian", *rites] if shell else rites,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            pass_fds=(self._registry,),
            start_new_session=True,
        )
        self._started_at = time.monotonic()
        self._watch = ExitWatch(self._process.pid, self._died)

    def _died(self) -> None:
        """Somebody killed it; where it cannot live at all the next launch tries again."""
        process, self._process = self._process, None
        if process is not None:
            process.poll()
            if process.stdin is not None:
                process.stdin.close()
        if time.monotonic() - self._started_at > RESTART_SECONDS:
            with suppress(OSError):
                self._start()
