"""The listening side: an aiohttp server set up for a proxy, and the event loop and allocator it runs on."""

import asyncio
import ctypes
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import structlog
from aiohttp import web

from llama_swap.proxy.body import expect_later
from llama_swap.proxy.front_connection import HEAD_SECONDS, FrontConnection

__all__ = ["HEAD_SECONDS", "FrontConnection", "close", "listen", "make_runner", "run", "server_options", "tune_malloc"]

_ANSWER_SECONDS = 0.5
_GRACE_SECONDS = 0.8
_CLEANUP_SECONDS = 1.0
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


async def listen(  # noqa: PLR0913 - one option for each limit of the listening side
    runner: web.AppRunner,
    sock: socket.socket,
    *,
    tls: ssl.SSLContext | None = None,
    head_seconds: float = HEAD_SECONDS,
    backlog: int = 1024,
    max_connections: int | None = None,
) -> asyncio.Server:
    """Accept connections for an application that was set up (``await runner.setup()``).

    End with :func:`close`.

    Args:
        runner: that serves them.
        sock: bound, listening or not.
        tls: to speak HTTPS; None for plain HTTP.
        head_seconds: how long the head of a request may take.
        backlog: connections that may wait to be accepted.
        max_connections: of all listeners of the runner together; a further one gets a 503 at once, so that the
            descriptors for upstreams never run out. None is no bound.
    """
    server = runner.server
    if server is None:
        raise RuntimeError("the runner must be set up first")
    loop = asyncio.get_running_loop()
    options = {name: value for name, value in server_options().items() if name != "handler_cancellation"}

    def is_full() -> bool:
        return max_connections is not None and len(server.connections) >= max_connections

    def connection() -> FrontConnection:
        return FrontConnection(server, loop=loop, head_seconds=head_seconds, is_full=is_full, **options)

    return await loop.create_server(connection, sock=sock, backlog=backlog, ssl=tls)


async def close(
    runner: web.AppRunner,
    servers: Sequence[asyncio.Server],
    *,
    budget_seconds: float,
    before_cut: Callable[[], None] | None = None,
) -> None:
    """Accept nothing new, let the requests in service end within the budget, and cut what is left.

    ``before_cut`` is called at the end of the budget: those that it has answered now are not cut.

    Idle keep-alive connections end at once. A handler that is cut is cancelled; an event stream gets its error event
    first (:mod:`.forward`). Returns at most about three seconds after the budget.
    """
    for server in servers:
        server.close()
    if runner.server is not None:
        await asyncio.sleep(0)  # what was accepted in this pass of the loop is known after it
        connections = [each for each in runner.server.connections if isinstance(each, FrontConnection)]
        # They forget their transports before what is buffered for a client has left.
        transports = [each.transport for each in connections if each.transport is not None]
        ends = [each.begin_closing() for each in connections]
        services = [each.service for each in connections if each.service is not None]
        await _wait_all(services, budget_seconds)
        if before_cut is not None and not all(service.done() for service in services):
            before_cut()
            await _wait_all(services, _ANSWER_SECONDS)
        for each in connections:
            each.cut("the service is shutting down")
        await _wait_all([*services, *ends], _GRACE_SECONDS)
        for transport in transports:
            transport.abort()
    try:
        async with asyncio.timeout(_CLEANUP_SECONDS):
            await runner.cleanup()
    except TimeoutError:
        structlog.get_logger("front").warning("handlers did not end when they were cancelled")


async def _wait_all(futures: Sequence[asyncio.Future[None]], limit_seconds: float) -> None:
    if futures:
        await asyncio.wait(futures, timeout=limit_seconds)


def make_runner(app: web.Application, **options: Any) -> web.AppRunner:
    """An ``AppRunner`` with :func:`server_options`; ``options`` go on top. ``app`` must have all its routes."""
    for route in app.router.routes():
        # 100 Continue is sent when the body is wanted, not before the handler has looked at the API key.
        route._expect_handler = expect_later  # noqa: SLF001 - else each route must name it; pinned by a test
    return web.AppRunner(app, **{**server_options(), **options})


def tune_malloc() -> bool:
    """Let glibc keep the memory of big bodies instead of giving it back and faulting it in anew for each one.

    Bodies of 5 MB pass 2.2 times as fast. The price: up to 64 MiB of freed memory is kept. Bodies from 8 MiB on are
    mapped alone: on the heap many at once would leave holes (64 of 20 MB kept 500 MB), and be copied while they grow.

    Returns:
        Whether there was a glibc that took the settings.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {_M_TRIM_THRESHOLD: 64 * _MIB, _M_TOP_PAD: 8 * _MIB, _M_MMAP_THRESHOLD: 8 * _MIB}
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
