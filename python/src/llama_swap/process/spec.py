"""What a launch needs and what it can end in: plain data and the two failures."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """How to start one child, how to know that it is ready, how to stop it.

    Attributes:
        model: names the child in messages.
        argv: the command, started without a shell.
        env: the complete environment of the command and of ``stop_argv``; one variable of ours is added.
        stop_argv: ``cmdStop``; ``${PID}`` inside an item is the child's process ID. None: SIGTERM to its group.
        base_url: where it serves, such as ``http://localhost:5800``; may be https and may have a path.
        check_endpoint: path (and query) below ``base_url`` that answers 200 when ready. None: ready at once.
        owned_port: the port that we chose for it and that was free just now, else None.
    """

    model: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    stop_argv: tuple[str, ...] | None
    base_url: str
    check_endpoint: str | None
    owned_port: int | None


@dataclass(frozen=True, slots=True)
class ExitReport:
    """How a child ended; everything that it started is gone too.

    Attributes:
        detail: as a user reads it: "exit status 7", "killed by SIGKILL".
        exit_code: its exit status, None when a signal ended it.
        signal: the number of the signal that ended it, else None.
        out_of_memory: the kernel ended it, or something it had started, because memory ran out.
        output_tail: the last lines of stdout and stderr in the order they were read, oldest first.
    """

    detail: str
    exit_code: int | None
    signal: int | None
    output_tail: tuple[str, ...]
    out_of_memory: bool = False


class LaunchFailed(Exception):  # noqa: N818  (reads as what happened, like the events of the core)
    """The command could not be started; the message is for users."""


class NotReady(Exception):  # noqa: N818  (same)
    """The child runs but can never become ready; the message is for users."""
