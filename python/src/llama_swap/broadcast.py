"""One stream of pieces to many listeners, none of which can hold up another or the sender.

A piece is whole: a line, a frame. Synchronous and of the event loop's thread; a piece is shared by all who wait for it.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final, Self

PENDING_BYTES: Final = 256 * 1024

Sink = Callable[[bytes], None]


def _nothing(_dropped: int) -> bytes:
    return b""


class Listener:
    """The pieces from now on: iterate over it, and use it as a context manager to leave.

    Each step gives all pieces that came since the last one, joined.

    Args:
        first: what to begin with; does not count against the limit.
        limit_bytes: how much may wait; what goes beyond is dropped.
        catch_up: given how many pieces were dropped, what stands in their place.
        leave: called once when the listener is done.
    """

    __slots__ = ("_catch_up", "_closed", "_dropped", "_leave", "_pending", "_room_bytes", "_total_bytes", "_wake")

    def __init__(
        self, first: bytes, limit_bytes: int, catch_up: Callable[[int], bytes], leave: Callable[["Listener"], None]
    ) -> None:
        self._pending = [first] if first else []
        self._total_bytes = self._room_bytes = limit_bytes
        self._catch_up = catch_up
        self._leave = leave
        self._dropped = 0
        self._closed = False
        self._wake = asyncio.Event()
        if self._pending:
            self._wake.set()

    def push(self, piece: bytes) -> None:
        """Add a piece; dropped if the listener is too far behind, with all that follow until it has caught up."""
        # All that follow, also those that would fit: so what stands in their place sits at the gap.
        if self._dropped or len(piece) > self._room_bytes:
            self._dropped += 1
        else:
            self._pending.append(piece)
            self._room_bytes -= len(piece)
        self._wake.set()

    def end(self) -> None:
        """Let the iteration end after what is pending."""
        self._closed = True
        self._wake.set()

    def _take(self) -> bytes:
        pieces, self._pending = self._pending, []
        self._room_bytes = self._total_bytes
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            pieces.append(self._catch_up(dropped))
        if not self._closed:
            self._wake.clear()
        return b"".join(pieces)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            await self._wake.wait()
            if taken := self._take():
                return taken
            if self._closed:
                raise StopAsyncIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(self)


class Broadcast:
    """All listeners of one stream.

    Args:
        limit_bytes: how much may wait for each.
    """

    __slots__ = ("_closed", "_limit_bytes", "_takers")

    def __init__(self, *, limit_bytes: int = PENDING_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._takers: dict[object, Sink] = {}
        self._closed = False

    def __len__(self) -> int:
        """How many listen; none makes it false."""
        return len(self._takers)

    def publish(self, piece: bytes) -> None:
        """Give a piece to everybody."""
        for take in self._takers.values():
            take(piece)

    def listen(self, first: bytes = b"", *, catch_up: Callable[[int], bytes] = _nothing) -> Listener:
        """Add a listener.

        Args:
            first: what only this listener gets, before all others.
            catch_up: see :class:`Listener`.
        """
        listener = Listener(first, self._limit_bytes, catch_up, self._leave)
        self._takers[listener] = listener.push
        if self._closed:
            listener.end()
        return listener

    def forward(self, sink: Sink) -> Callable[[], None]:
        """Call ``sink`` with every piece at once; it must not raise or wait. Returns how to stop that."""
        key = object()
        self._takers[key] = sink
        return partial(self._leave, key)

    def close(self) -> None:
        """End all listeners, present and future, once they have what is pending."""
        self._closed = True
        for taker in self._takers:
            if isinstance(taker, Listener):
                taker.end()

    def _leave(self, taker: object) -> None:
        self._takers.pop(taker, None)
