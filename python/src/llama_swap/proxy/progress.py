"""How the coroutine in charge of an exchange learns from the callbacks of its connections that there is work for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Progress:
    """Wakes one coroutine that waits, or ends the upload that it is busy with.

    Attributes:
        ended: nothing more will happen.
        is_uploading: the coroutine is inside :meth:`while_running`.
    """

    __slots__ = ("_upload", "_wake", "ended")

    def __init__(self) -> None:
        self._upload: asyncio.Timeout | None = None
        self._wake: asyncio.Future[None] | None = None
        self.ended = False

    @property
    def is_uploading(self) -> bool:
        """Whether the coroutine sends the request's body, and so does not wait."""
        return self._upload is not None

    async def wait(self) -> None:
        """Return at the next :meth:`wake`."""
        self._wake = asyncio.get_running_loop().create_future()
        await self._wake

    @asynccontextmanager
    async def while_running(self) -> AsyncIterator[None]:
        """Leave the block early when the exchange ends: an answer may come before the request was sent whole."""
        try:
            async with asyncio.timeout(None) as self._upload:
                if self.ended:
                    self._upload.reschedule(0)
                yield
        except TimeoutError:
            if not self.ended:
                raise
        finally:
            self._upload = None

    def end(self) -> None:
        """Nothing more will happen."""
        self.ended = True
        if self._upload is not None:
            self._upload.reschedule(0)
        self.wake()

    def wake(self) -> None:
        """There is work for the coroutine."""
        wake = self._wake
        if wake is not None and not wake.done():
            wake.set_result(None)
