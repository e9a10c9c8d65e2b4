"""One stream of frames to many listeners, none of which can hold up another or the sender.

Synchronous and of the event loop's thread; with no listeners, publishing costs a comparison.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

PENDING_FRAMES: Final = 1024
"""What may wait for one listener (llama-swap v250)."""


class Listener:
    """The frames from now on: iterate over it, and use it as a context manager to leave.

    Each step gives all frames that came since the last one, joined.

    Args:
        first: frames to begin with.
        limit: how many frames may wait; what goes beyond is dropped.
        catch_up: gives frames with the whole picture, for a listener that missed some.
        leave: called once when the listener is done.
    """

    __slots__ = ("_catch_up", "_closed", "_dropped", "_leave", "_limit", "_pending", "_wake")

    def __init__(
        self,
        first: Iterable[bytes],
        limit: int,
        catch_up: Callable[[], Iterable[bytes]],
        leave: Callable[["Listener"], None],
    ) -> None:
        self._pending = deque(first)
        self._limit = limit
        self._catch_up = catch_up
        self._leave = leave
        self._dropped = False
        self._closed = False
        self._wake = asyncio.Event()
        if self._pending:
            self._wake.set()

    def push(self, frame: bytes) -> None:
        """Add a frame; dropped if the listener is too far behind, with all that follow until it has caught up."""
        if self._dropped or len(self._pending) >= self._limit:
            self._dropped = True
        else:
            self._pending.append(frame)
        self._wake.set()

    def end(self) -> None:
        """Let the iteration end after what is pending."""
        self._closed = True
        self._wake.set()

    def _take(self) -> bytes:
        frames = list(self._pending)
        self._pending.clear()
        if self._dropped:
            self._dropped = False
            frames += self._catch_up()
        if not self._closed:
            self._wake.clear()
        return b"".join(frames)

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
        limit: how many frames may wait for each.
    """

    def __init__(self, *, limit: int = PENDING_FRAMES) -> None:
        self._limit = limit
        self._listeners: set[Listener] = set()
        self._closed = False

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def __len__(self) -> int:
        return len(self._listeners)

    def publish(self, frame: bytes) -> None:
        """Give a frame to every listener."""
        for listener in self._listeners:
            listener.push(frame)

    def listen(self, first: Iterable[bytes] = (), *, catch_up: Callable[[], Iterable[bytes]] = tuple) -> Listener:
        """Add a listener.

        Args:
            first: frames that only this listener gets, before all others.
            catch_up: see :class:`Listener`.
        """
        listener = Listener(first, self._limit, catch_up, self._listeners.discard)
        self._listeners.add(listener)
        if self._closed:
            listener.end()
        return listener

    def close(self) -> None:
        """End all listeners, present and future, once they have what is pending."""
        self._closed = True
        for listener in self._listeners:
            listener.end()
