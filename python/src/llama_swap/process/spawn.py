"""Start one command: no shell, a session of its own, nothing on stdin, stdout and stderr in pipes."""

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from llama_swap.process.spec import LaunchFailed

# What the service manager tells the service is for the service alone: a child must not speak for it (sd_notify(3)),
# take its sockets (sd_listen_fds(3)) or feed its watchdog.
_PRIVATE_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(slots=True)
class Spawned:
    """A started command that nobody has reaped yet. It leads a session and a group whose ID is its ``pid``."""

    pid: int
    stdout: int
    stderr: int
    _popen: subprocess.Popen[bytes] = field(repr=False)

    def reap(self) -> int | None:
        """Its exit status as subprocess counts it (negative: the signal); None while it runs.

        Returns:
            Also 0 when somebody else reaped it, as :mod:`subprocess` does: the status is lost, the process gone.
        """
        return self._popen.poll()

    def signal_group(self, signum: signal.Signals) -> bool:
        """Signals every process in its group; False when none of them may be signalled by us."""
        try:
            os.killpg(self.pid, signum)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return True

    def abandon(self) -> None:
        """Ends it at once because it cannot be looked after; nothing has taken over its pipes yet."""
        self.signal_group(signal.SIGKILL)
        self._popen.wait()  # a killed process: a moment
        os.close(self.stdout)
        os.close(self.stderr)


def spawn(argv: Sequence[str], environment: Mapping[str, str]) -> Spawned:
    """Starts a command; returns once the program runs (vfork and exec, about 1 ms).

    Raises:
        LaunchFailed: it cannot be executed; the message names the program and the reason.
    """
    if not argv or not argv[0]:
        raise LaunchFailed("empty command")
    try:
        popen = subprocess.Popen(  # reaped by reap(), pipes owned by the caller
            argv,
            env=_without_private(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except (OSError, ValueError, UnicodeError) as error:
        raise LaunchFailed(f"failed to start command '{argv[0]}': {_reason(error, argv[0], environment)}") from error
    return Spawned(pid=popen.pid, stdout=_detach(popen.stdout), stderr=_detach(popen.stderr), _popen=popen)


def _detach(pipe: IO[bytes] | None) -> int:
    """The descriptor of a pipe that its file object shall no longer close."""
    if pipe is None:  # pragma: no cover  (both streams are pipes)
        raise LaunchFailed("no pipe")
    fd = os.dup(pipe.fileno())
    pipe.close()
    return fd


def _without_private(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment less what the service manager gave to us; a value that a user configured stays."""
    return {
        name: value
        for name, value in environment.items()
        if name not in _PRIVATE_VARIABLES or os.environ.get(name) != value
    }


def _reason(error: Exception, program: str, environment: Mapping[str, str]) -> str:
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    if error.errno == errno.ENOENT and shutil.which(program, path=environment.get("PATH", os.defpath)):
        # A program built for another distribution, above all on NixOS; the kernel says ENOENT for this as well.
        return "the file is there, but its interpreter or dynamic loader is not"
    return os.strerror(error.errno).lower()
