"""One connection of a client: aiohttp's, with the limits and the manners that a proxy needs."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from llama_swap.proxy.body import is_continue_owed
from llama_swap.proxy.boundary import MessageBoundary
from llama_swap.proxy.forward import RelayedResponse
from llama_swap.proxy.refusal import refusal
from llama_swap.proxy.request_head import RequestHead, objection

HEAD_SECONDS = 20.0
"""A request's head must have arrived this long after its first byte (or after the connection was made)."""

_TOO_LARGE = 431
_INTERNAL = 500
_TOO_MANY_HEADERS = re.compile("too many headers", re.IGNORECASE)


class FrontConnection(web.RequestHandler):
    """What aiohttp lacks: a deadline for heads, errors without its own pages, a bound on connections, an orderly end.

    Inheritance is aiohttp's only way to see the bytes of a connection. ``_waiter`` (set while the connection waits for
    a request), ``_messages`` (those to be served), ``_task_handler``, ``_request_handler``, ``_manager`` and
    ``_force_close`` are private, and pinned by a test.

    Args:
        manager: aiohttp's server.
        head_seconds: how long the head of a request may take.
        is_full: asked when the connection is made; True ends it with a 503.
        options: for aiohttp.

    Attributes:
        head: of the request in service, as ``request.protocol.head`` for whoever serves it.
    """

    __slots__ = (
        "_boundary",
        "_end",
        "_head_deadline",
        "_head_seconds",
        "_is_broken",
        "_is_full",
        "_serve",
        "_served",
        "head",
    )

    def __init__(
        self, manager: web.Server, *, head_seconds: float, is_full: Callable[[], bool] | None = None, **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self._head_seconds = head_seconds
        self._head_deadline: asyncio.TimerHandle | None = None
        self._boundary = MessageBoundary()
        self._is_broken = False
        self._served: web.BaseRequest | None = None
        self.head: RequestHead | None = None
        self._end: asyncio.Future[None] | None = None
        self._is_full = is_full
        self._serve = self._request_handler
        self._request_handler = self._admit

    def _admit(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        """Serve a request whose framing every reader understands alike (aiohttp takes `gzip, chunked` for chunked)."""
        if self.head is None or not self.head.is_repeated_by(request):
            if (found := objection(request)) is not None:
                return self._refuse_request(request, *found)
            self.head = RequestHead(request)
        assert self._serve is not None  # noqa: S101 - set while connected
        self._served = request
        if self._messages:
            self._break_body(request)
        return self._serve(request)

    async def _refuse_request(self, request: web.BaseRequest, status: int, message: str) -> web.StreamResponse:
        return self.handle_error(request, status, message=message)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        if self._is_full is not None and self._is_full():
            self._force_close = True
            # No isinstance: uvloop's transports are none of asyncio's classes.
            refused = cast("asyncio.Transport", transport)
            refused.write(refusal(503, "too many connections; try again"))
            refused.close()
            return
        super().connection_made(transport)
        if self._task_handler is not None:
            self._task_handler.add_done_callback(self._is_over)
        self._expect_head()

    def _is_over(self, task: "asyncio.Task[None]") -> None:
        """Nobody serves this connection any more; aiohttp fails on a few requests that it has let pass as such."""
        if not task.cancelled() and task.exception() is not None:
            self._refuse()

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        messages = self._messages
        was_empty = not messages
        try:
            super().data_received(data)
        except ValueError:  # aiohttp before 3.14: a target that is no URL
            self._refuse()
            return
        if not data:
            return
        self._boundary.take(data, messages if was_empty else ())
        if self._served is not None:
            self._break_body(self._served)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            self._expect_head()
        elif self._head_deadline is not None:
            self._stop_head_deadline()

    def resume_reading(self, *arguments: Any, **options: Any) -> None:
        """Part of aiohttp, which calls it after each piece of a body, and parses nothing anew each time."""
        if self._reading_paused:
            super().resume_reading(*arguments, **options)

    def _refuse(self) -> None:
        """Answer bytes of which no request could be made, and end the connection."""
        if self.transport is not None:
            if self._served is None and not self.transport.is_closing():
                self.transport.write(refusal(400, "this is not a valid HTTP request"))
            self.transport.close()

    def _break_body(self, request: web.BaseRequest) -> None:
        """Tell who reads a body whose framing is broken: aiohttp answers that only after the request, which waits."""
        if self._messages and not request.content.is_eof():
            self._is_broken = not isinstance(self._messages[-1][0], RawRequestMessage)
            if self._is_broken:
                request.content.set_exception(web.RequestPayloadError("its framing is not valid"))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Part of asyncio.Protocol."""
        self._stop_head_deadline()
        super().connection_lost(exc)
        self._serve = None
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Part of aiohttp: the handler has returned, its answer is sent."""
        if self._is_broken:
            request.content.feed_eof()  # nothing is left to wait for
        if self._served is not None and self._ends_with(request) and isinstance(resp, web.StreamResponse):
            resp.force_close()
        self._served = None
        finished: tuple[web.StreamResponse, bool] = (resp, False)
        if not isinstance(resp, RelayedResponse):  # that is on the wire already
            finished = await super().finish_response(request, resp, start_time)
        if self._boundary.is_within_head and request.content.is_eof():
            self._expect_head()
        return finished

    def _ends_with(self, request: web.BaseRequest) -> bool:
        """Whether the request in service is the last one.

        A client whose `Expect` was not granted may or may not send its body, so nothing after it can be read.
        """
        head = self.head
        if head is None or head.is_last or self._end is not None or self._is_broken:
            return True
        return head.expects and is_continue_owed(request)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Part of aiohttp: answer what is no HTTP request, and the failure of a handler.

        Only messages of our own are sent (without ``exc``): aiohttp's quote the input.
        """
        if status >= _INTERNAL:
            return self._handle_failure(request, status, exc)
        if isinstance(exc, LineTooLong) or _TOO_MANY_HEADERS.search(str(exc)):
            status, message = _TOO_LARGE, "the head of the request is too large"
        elif exc is not None or message is None:
            message = "this is not a valid HTTP request"
        structlog.get_logger("front").debug("request refused", client=request.remote, status=status, reason=message)
        if self.transport is not None:
            self.transport.write(refusal(status, message))
        return RelayedResponse(status, closes=True)

    def _handle_failure(self, request: web.BaseRequest, status: int, exc: BaseException | None) -> web.StreamResponse:
        structlog.get_logger("front").error("handler failed", client=request.remote, status=status, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, so its connection must end")
        if self.transport is not None:
            self.transport.write(refusal(status, "internal error: the service's log has the details"))
        return RelayedResponse(status, closes=True)

    # The end of the service.

    @property
    def service(self) -> "asyncio.Task[None] | None":
        """The task that serves this connection; None once it is lost."""
        return self._task_handler

    def begin_closing(self) -> asyncio.Future[None]:
        """Take no further request: an idle connection ends now, one in service with its answer.

        Returns:
            What is done when the connection is over and nothing is buffered for the client any more.
        """
        self._end = asyncio.get_running_loop().create_future()
        if self._manager is None:
            self._end.set_result(None)
        if self._is_waiting:
            self.force_close()
        else:
            self.close()  # also where the answer is sent, and the connection not back to waiting yet
        return self._end

    def cut(self, why: str) -> None:
        """End the request in service without its answer; its handler hears ``why`` with the cancellation."""
        if self._task_handler is not None:
            self._task_handler.cancel(why)

    @property
    def _is_waiting(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _expect_head(self) -> None:
        if self._head_deadline is None:
            loop = asyncio.get_running_loop()
            self._head_deadline = loop.call_later(self._head_seconds, self._head_is_late)

    def _stop_head_deadline(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _head_is_late(self) -> None:
        self._head_deadline = None
        if self._is_waiting:
            self.force_close()
