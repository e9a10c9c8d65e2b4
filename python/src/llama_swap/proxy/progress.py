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

    # What each begins with: there is one for every request, and most are only waited for once.
    ended = False
    _upload: asyncio.Timeout | None = None
    _wake: asyncio.Future[None] | None = None

    @property
    def is_uploading(self) -> bool:
        """Whether the coroutine sends the request's body, and so does not wait."""
        return self._upload is not None

    def change(self) -> asyncio.Future[None]:
        """What is done at the next :meth:`wake`; for the coroutine, which waits for one at a time."""
        self._wake = change = asyncio.get_running_loop().create_future()
        return change

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
