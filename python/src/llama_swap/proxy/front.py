"""The listening side: an aiohttp server set up for a proxy, and the event loop and allocator it runs on."""

import asyncio
import ctypes
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aiohttp import web

HEAD_SECONDS = 20.0
"""A request's head must have arrived this long after its first byte (or after the connection was made)."""

_KEEPALIVE_SECONDS = 75.0
_LINE_BYTES = 16 * 1024
_FIELD_BYTES = 16 * 1024

_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3
_MIB = 1024 * 1024

T = TypeVar("T")


def server_options() -> dict[str, Any]:
    """The keyword arguments for ``web.AppRunner`` or ``web.Server`` that the data plane relies on."""
    return {
        "handler_cancellation": True,  # a client that leaves ends its handler, and so the upstream's work
        "access_log": None,  # the request log is ours
        "auto_decompress": False,  # bodies pass as they are; read_body unpacks the ones we look into
        "keepalive_timeout": _KEEPALIVE_SECONDS,
        "max_line_size": _LINE_BYTES,
        "max_field_size": _FIELD_BYTES,
        "tcp_keepalive": True,
    }


class FrontConnection(web.RequestHandler):
    """aiohttp's connection with a deadline for the head of a request: aiohttp itself waits for ever.

    Inheritance is aiohttp's only way to see the bytes of a connection. ``_waiter`` (set while the connection waits for
    a request) is private; a test pins it.
    """

    __slots__ = ("_head_deadline", "_head_seconds")

    def __init__(self, *args: Any, head_seconds: float = HEAD_SECONDS, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_seconds = head_seconds
        self._head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        super().data_received(data)
        if not data:
            return
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            self._expect_head()
        elif self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Part of asyncio.Protocol."""
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._head_deadline is None:
            loop = asyncio.get_running_loop()
            self._head_deadline = loop.call_later(self._head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_deadline = None
        self.force_close()


async def listen(
    runner: web.AppRunner,
    sock: socket.socket,
    *,
    tls: ssl.SSLContext | None = None,
    head_seconds: float = HEAD_SECONDS,
    backlog: int = 1024,
) -> asyncio.Server:
    """Accept connections for an application that was set up (``await runner.setup()``).

    Close the returned server before ``runner.cleanup()``.

    Args:
        runner: that serves them.
        sock: bound, listening or not.
        tls: to speak HTTPS; None for plain HTTP.
        head_seconds: how long the head of a request may take.
        backlog: connections that may wait to be accepted.
    """
    server = runner.server
    if server is None:
        raise RuntimeError("the runner must be set up first")
    loop = asyncio.get_running_loop()
    options = {name: value for name, value in server_options().items() if name != "handler_cancellation"}

    def connection() -> FrontConnection:
        return FrontConnection(server, loop=loop, head_seconds=head_seconds, **options)

    return await loop.create_server(connection, sock=sock, backlog=backlog, ssl=tls)


def make_runner(app: web.Application, **options: Any) -> web.AppRunner:
    """An ``AppRunner`` with :func:`server_options`; ``options`` go on top."""
    return web.AppRunner(app, **{**server_options(), **options})


def tune_malloc() -> bool:
    """Let glibc keep the memory of big bodies instead of giving it back and faulting it in anew for each one.

    Bodies of 5 MB pass 2.2 times as fast. The price: up to 64 MiB of freed memory is kept.

    Returns:
        Whether there was a glibc that took the settings.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {_M_TRIM_THRESHOLD: 64 * _MIB, _M_TOP_PAD: 8 * _MIB, _M_MMAP_THRESHOLD: 32 * _MIB}
    accepted = [mallopt(option, value) == 1 for option, value in settings.items()]
    return all(accepted)


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the service on uvloop where it is installed, else on asyncio's own loop."""
    tune_malloc()
    try:
        import uvloop  # noqa: PLC0415 - an optional extra
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())
