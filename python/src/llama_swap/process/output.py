"""Turn what a child writes into lines without ever being slowed down, filled up or blocked by it.

A child that writes faster than :data:`RATE_BYTES_PER_SECOND` for longer than a burst is read more slowly, so the pipe
fills and the child waits: its flood costs us neither memory nor the loop. Reading never stops for good, so a full pipe
never blocks a child for ever.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable

READ_BYTES = 16 * 1024
LINE_LIMIT_BYTES = 64 * 1024
RATE_BYTES_PER_SECOND = 4 * 1024 * 1024
BURST_BYTES = 1024 * 1024
LINE_COST_BYTES = 64  # what handling a line costs, so that a flood of empty lines is slowed down as well
TAIL_LINES = 20
TAIL_LINE_CHARACTERS = 1000


class LineReader:
    """Reads one pipe, at most 16 KiB in one pass of the loop, and hands over each line without its newline.

    A line longer than 64 KiB comes in pieces. The last line need not end in a newline. Takes over ``fd``.
    """

    __slots__ = ("_at", "_credit", "_fd", "_loop", "_on_line", "_partial", "_pause")

    def __init__(self, fd: int, on_line: Callable[[bytes], None]) -> None:
        self._fd = fd
        self._on_line = on_line
        self._partial = b""
        self._loop = asyncio.get_running_loop()
        self._credit = float(BURST_BYTES)
        self._at = self._loop.time()
        self._pause: asyncio.TimerHandle | None = None
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._readable)

    def finish(self) -> None:
        """Hands over what is still in the pipe and closes it, even where an escaped process holds the other end."""
        left = BURST_BYTES
        while self._fd >= 0 and left > 0 and (data := self._read()):
            left -= len(data)
            self._feed(data)
        self._close()

    def _readable(self) -> None:
        data = self._read()
        if data is None:
            return
        if not data:
            self._close()
            return
        self._feed(data)
        self._charge(len(data) + data.count(b"\n") * LINE_COST_BYTES)

    def _read(self) -> bytes | None:
        """What is there; None when nothing is, empty when the pipe has ended."""
        try:
            return os.read(self._fd, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    def _feed(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._emit(line)
        if len(self._partial) >= LINE_LIMIT_BYTES:
            line, self._partial = self._partial, b""
            self._emit(line)

    def _emit(self, line: bytes) -> None:
        for start in range(0, len(line) or 1, LINE_LIMIT_BYTES):
            self._on_line(line[start : start + LINE_LIMIT_BYTES])

    def _charge(self, count: int) -> None:
        """A token bucket: who has used up the burst is not read again before the debt is paid."""
        if self._fd < 0:
            return
        now = self._loop.time()
        earned = (now - self._at) * RATE_BYTES_PER_SECOND
        self._credit = min(BURST_BYTES, self._credit + earned) - count
        self._at = now
        if self._credit < 0:
            self._loop.remove_reader(self._fd)
            self._pause = self._loop.call_later(-self._credit / RATE_BYTES_PER_SECOND, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._fd, self._readable)

    def _close(self) -> None:
        if self._fd < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        if self._partial:
            line, self._partial = self._partial, b""
            self._emit(line)


class OutputTail:
    """The last lines of a child, kept as bytes: most are never looked at, so they are decoded when they are."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=TAIL_LINES)

    def add(self, line: bytes) -> None:
        """Remembers one line."""
        self._lines.append(line)

    def lines(self) -> tuple[str, ...]:
        """The last lines as text, oldest first, long ones cut."""
        return tuple(
            line[: 4 * TAIL_LINE_CHARACTERS].decode(errors="replace")[:TAIL_LINE_CHARACTERS] for line in self._lines
        )
