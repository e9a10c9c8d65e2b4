"""Printing that cannot hold up the service: a stdout that nobody reads loses lines instead.

The loop that prints also serves. A terminal stopped with Ctrl-S or a pipe whose reader hangs would block every request,
so before each piece the kernel is asked whether it would take it. A reader that is merely slow is waited for briefly;
one that stays away costs that time once, and is told how many lines it missed when it comes back.
"""

import os
import select
from collections.abc import Callable
from typing import BinaryIO, Final

_PATIENCE_MILLISECONDS: Final = 50
# A pipe that is ready takes this much without blocking (POSIX); nothing larger is written at once.
_PIECE_BYTES: Final = select.PIPE_BUF
_NONE: Final = -1


class StdoutWriter:
    """Writes whole lines to a stream, or drops them. Call it with the bytes of one or more lines.

    Args:
        stream: a binary stream; one without a file descriptor is written to directly.
        mark: the line that stands for a number of dropped ones.
    """

    __slots__ = ("_descriptor", "_dropped", "_inside_line", "_mark", "_poll", "_stream")

    def __init__(self, stream: BinaryIO, mark: Callable[[int], bytes]) -> None:
        self._stream = stream
        self._mark = mark
        self._dropped = 0
        self._inside_line = False
        self._descriptor = _NONE
        self._poll = select.poll()
        try:
            stream.flush()
            self._descriptor = stream.fileno()
        except (OSError, ValueError):
            # io.UnsupportedOperation is both.
            return
        self._poll.register(self._descriptor, select.POLLOUT)

    def __call__(self, lines: bytes) -> None:
        """Print, or count what could not be printed. Never raises: a reader that is gone must not end the service."""
        try:
            if self._descriptor == _NONE:
                self._stream.write(lines)
                self._stream.flush()
            elif not self._dropped or self._catch_up():
                self._print(lines)
            else:
                self._dropped += lines.count(b"\n")
        except (OSError, ValueError):
            return

    def _catch_up(self) -> bool:
        """Try to print the mark for what was dropped; no patience here, it was spent when the reader fell behind."""
        if not self._poll.poll(0):
            return False
        mark = self._mark(self._dropped)
        mark = b"\n" + mark if self._inside_line else mark
        self._dropped, self._inside_line = 0, False
        self._print(mark)
        return not self._dropped

    def _print(self, lines: bytes) -> None:
        written = self._write(lines[:_PIECE_BYTES])
        if written != len(lines):
            self._print_on(lines, written)

    def _print_on(self, lines: bytes, written: int) -> None:
        """What is more than one piece, as far as the reader takes it."""
        rest = memoryview(lines)[written:]
        while rest and written:
            written = self._write(rest[:_PIECE_BYTES])
            rest = rest[written:]
        if rest:
            printed = len(lines) - len(rest)
            self._dropped += lines.count(b"\n", printed)
            self._inside_line = printed > 0 and not lines.endswith(b"\n", 0, printed)

    def _write(self, piece: bytes | memoryview) -> int:
        """How much was taken; 0 when the reader did not come in time."""
        try:
            return os.write(self._descriptor, piece) if self._poll.poll(_PATIENCE_MILLISECONDS) else 0
        except BlockingIOError:
            # Somebody who shares the stream made it non-blocking and was quicker.
            return 0
