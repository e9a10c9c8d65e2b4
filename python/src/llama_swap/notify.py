"""What systemd is told and what it hands over: sd_notify(3) messages, the watchdog, sockets of socket activation.

Outside systemd everything here does nothing. The variables of both protocols are removed from the environment once
they are read, so that no model's process can speak for the service or take its sockets.
"""

import os
import socket
import time
from typing import Final

import sdnotify

# sd_listen_fds(3): passed descriptors begin here.
_FIRST_PASSED_FD: Final = 3
# The manager's socket is a local queue; if it is full, only what must not be lost waits, and only this long.
_SEND_TIMEOUT_SECONDS: Final = 1.0
_MICROSECONDS: Final = 1_000_000


class Notifier:
    """Tells the service manager how the service is; does nothing where there is none.

    Construct it once, before any process is started: it takes ``NOTIFY_SOCKET`` and ``WATCHDOG_*`` out of the
    environment.
    """

    __slots__ = ("_watchdog_seconds", "_wire")

    def __init__(self) -> None:
        self._watchdog_seconds = _take_watchdog_seconds()
        self._wire: sdnotify.SystemdNotifier | None = None
        # The library leaves an open socket behind when there is no address, so it is not asked then.
        if os.environ.get("NOTIFY_SOCKET"):
            self._wire = sdnotify.SystemdNotifier()
            del os.environ["NOTIFY_SOCKET"]

    def ready(self, status: str | None = None) -> None:
        """The service accepts requests: after the start, and again at the end of each reload."""
        self._send("READY=1", *_status_lines(status), waits=True)

    def reloading(self) -> None:
        """A reload has begun; must be followed by :meth:`ready`, also when the new configuration is refused."""
        # Type=notify-reload wants the time in the same message, on the clock that systemd uses.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}", waits=True)

    def stopping(self, status: str | None = None) -> None:
        """The service has begun to shut down."""
        self._send("STOPPING=1", *_status_lines(status), waits=True)

    def status(self, text: str) -> None:
        """One line for people, shown by ``systemctl status``."""
        self._send(*_status_lines(text))

    def watchdog(self) -> None:
        """The service is alive; called from the supervisor's loop only, every :meth:`watchdog_interval_seconds`."""
        self._send("WATCHDOG=1")

    def extend_timeout(self, seconds: float) -> None:
        """Starting or stopping takes longer: the manager waits at least this long from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={max(1, round(seconds * _MICROSECONDS))}")

    def watchdog_interval_seconds(self) -> float | None:
        """How often to call :meth:`watchdog`: half of what the unit allows; None if no watchdog is set for us."""
        return self._watchdog_seconds / 2 if self._watchdog_seconds else None

    def close(self) -> None:
        """Close the socket; later calls do nothing."""
        if self._wire is not None and self._wire.socket is not None:
            self._wire.socket.close()
        self._wire = None

    def _send(self, *lines: str, waits: bool = False) -> None:
        """Send one message; only what the manager must not miss may wait for a place in its queue."""
        if self._wire is not None:
            if self._wire.socket is not None:
                self._wire.socket.settimeout(_SEND_TIMEOUT_SECONDS if waits else 0)
            # The library encodes as Latin-1, the protocol is UTF-8.
            self._wire.notify("\n".join(lines).encode("utf-8", "replace").decode("latin-1"))


def listen_sockets() -> list[socket.socket]:
    """The listening sockets that systemd passed to this very process, in its order; empty without socket activation.

    They are not inherited by children, and the variables that name them are removed.

    Raises:
        ValueError: a passed descriptor is no listening stream socket (say, ``ListenDatagram=`` in the socket unit).
    """
    owner = os.environ.pop("LISTEN_PID", "")
    count = os.environ.pop("LISTEN_FDS", "")
    for name in ("LISTEN_FDNAMES", "LISTEN_PIDFDID"):
        os.environ.pop(name, None)
    if owner != str(os.getpid()) or not count.isascii() or not count.isdigit():
        return []
    return [_listening(fd) for fd in range(_FIRST_PASSED_FD, _FIRST_PASSED_FD + int(count))]


def _listening(fd: int) -> socket.socket:
    os.set_inheritable(fd, False)  # noqa: FBT003 - the standard library's signature
    try:
        passed = socket.socket(fileno=fd)
    except OSError as error:
        raise ValueError(f"file descriptor {fd} passed by systemd is not a socket: {error}") from error
    if not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        passed.detach()
        raise ValueError(f"file descriptor {fd} passed by systemd is not a listening stream socket")
    passed.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return passed


def _take_watchdog_seconds() -> float | None:
    """``WATCHDOG_USEC`` in seconds, if it is meant for this process (``WATCHDOG_PID``) and makes sense."""
    microseconds = os.environ.pop("WATCHDOG_USEC", "")
    owner = os.environ.pop("WATCHDOG_PID", "")
    if owner and owner != str(os.getpid()):
        return None
    if not microseconds.isascii() or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    return int(microseconds) / _MICROSECONDS


def _status_lines(text: str | None) -> tuple[str, ...]:
    # A newline would begin another assignment.
    return () if text is None else ("STATUS=" + " ".join(text.split()),)
