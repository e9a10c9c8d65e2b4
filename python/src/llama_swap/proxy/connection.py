"""One connection to an upstream: bytes in, bytes out, and whether it can take more."""

import asyncio
from typing import TYPE_CHECKING, cast

from llama_swap.proxy.repeated import RepeatedHead

if TYPE_CHECKING:
    from collections.abc import Callable

_SLICE_BYTES = 256 * 1024


class UpstreamConnection(asyncio.Protocol):
    """The protocol of one connection; who uses it sets the two callbacks.

    Attributes:
        on_data: gets each read as it comes. A connection without it that speaks is closed: no answer may be attributed
            to a request that did not cause it.
        on_lost: told once when the connection is over. It and ``on_data`` are forgotten then: they refer to what uses
            this connection, which would keep the request's body in memory until the collector comes.
        on_writable: called once when the upstream has caught up (where nobody awaits :meth:`wait_writable`).
        answers: reads the heads that come.
        reused: it has served a request before, so it may have been closed by the upstream just now.
        idle_since: when it was last released (``time.monotonic``).
    """

    __slots__ = ("_drained", "_transport", "answers", "idle_since", "on_data", "on_lost", "on_writable", "reused")

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._drained: asyncio.Future[None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.answers = RepeatedHead()
        self.reused = False
        self.idle_since = 0.0
        self.on_data: Callable[[bytes], None] | None = None
        self.on_lost: Callable[[Exception | None], None] | None = None

    def detach(self) -> None:
        """Take no more part in an exchange."""
        self.on_data = None
        self.on_lost = None
        self.on_writable = None

    @property
    def is_usable(self) -> bool:
        """Whether bytes can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        # No isinstance: uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        on_data = self.on_data
        if on_data is None:
            self.abort()
        else:
            on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self.resume_writing()
        on_lost = self.on_lost
        self.detach()
        self._transport = None
        if on_lost is not None:
            on_lost(exc)

    def pause_writing(self) -> None:
        """Part of asyncio.Protocol: the upstream reads more slowly than we write."""
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Part of asyncio.Protocol."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        on_writable, self.on_writable = self.on_writable, None
        if on_writable is not None:
            on_writable()

    def write(self, data: bytes | memoryview) -> None:
        """Send; bytes for a connection that is over are dropped, ``on_lost`` tells."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    @property
    def is_congested(self) -> bool:
        """Whether the upstream reads more slowly than we write."""
        return self._drained is not None

    async def wait_writable(self) -> None:
        """Return once the upstream has taken most of what was written, or is gone."""
        if self._drained is not None:
            await asyncio.shield(self._drained)

    async def write_large(self, head: bytes, body: bytes) -> None:
        """Send a body that must not be copied whole into the transport's buffer; the head goes with its first piece."""
        view = memoryview(body)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines([head, view[:_SLICE_BYTES]])
        for start in range(_SLICE_BYTES, len(view), _SLICE_BYTES):
            if self._drained is not None:
                await self.wait_writable()
            self.write(view[start : start + _SLICE_BYTES])
        await self.wait_writable()

    def pause_reading(self) -> None:
        """Leave further bytes in the kernel, so that the upstream slows down."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Close after what is still buffered has been sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, without sending what is still buffered."""
        if self._transport is not None:
            self._transport.abort()
