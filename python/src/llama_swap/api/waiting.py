"""What a client hears while its model loads: the loading state, or a silent keep-alive.

Both are for event streams only. With ``sendLoadingState`` a chat that must wait begins at once with chunks whose
``reasoning_content`` tells what goes on (llama-swap v250, loading state; here well-formed chunks). Any other stays
silent for a while, so that a quick refusal keeps its real status, and then sends SSE comments, which every parser skips
and which keep clients and proxies from timing out.
"""

import asyncio
import time
from dataclasses import dataclass

import msgspec
from aiohttp import web

from llama_swap.api.errors import TABLE
from llama_swap.api.site import Site
from llama_swap.api.visit import Visit
from llama_swap.config import Model
from llama_swap.errors import RequestError
from llama_swap.proxy.early import EarlyStream, can_begin_early
from llama_swap.proxy.forward import RelayedResponse

_CHAT = "/v1/chat/completions"
_PROGRESS_SECONDS = 0.75
_SILENT_SECONDS = 10.0
_RULE = "─" * 20


@dataclass(slots=True, eq=False)
class Waiting:
    """The wait of one streaming request; driven by timers, so it needs no task of its own."""

    request: web.Request
    site: Site
    model: Model
    visit: Visit
    request_id: int
    tells_progress: bool
    stream: EarlyStream | None = None
    _timer: asyncio.TimerHandle | None = None
    _last_told: str = ""

    def begin(self) -> None:
        """Start the clock; nothing is sent if the wait ends within this pass of the event loop."""
        self._set_timer(0.0 if self.tells_progress else _SILENT_SECONDS)

    def end(self) -> EarlyStream | None:
        """Stop the clock; returns the stream if it has begun."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return self.stream

    def granted(self) -> EarlyStream | None:
        """The model is ready: close the loading state and hand over the stream if it has begun."""
        stream = self.end()
        if stream is not None and self.tells_progress:
            waited = time.monotonic() - self.visit.started_at
            stream.send(self._chunk(f"\nDone! ({waited:.2f}s)\n{_RULE}\n"))
        return stream

    def fail(self, error: RequestError) -> web.StreamResponse | None:
        """End a stream that has begun with an error event; None when the client can still get a real status."""
        stream = self.end()
        if stream is None:
            return None
        self.visit.refusal = error.without_traceback()
        row = TABLE[error.reason]
        stream.fail(error.message, error_type=row.error_type, code=row.code)
        return RelayedResponse(200, closes=stream.closes)

    def _set_timer(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._tell)

    def _tell(self) -> None:
        """Say where the request stands; the first time begins the answer."""
        if self.request.transport is None or self.request.transport.is_closing():
            return
        first = self.stream is None
        if self.stream is None:
            self.stream = EarlyStream(self.request, self.visit.exchange)
        if self.tells_progress:
            self.stream.send(self._chunk(self._progress(first=first)))
            self._set_timer(_PROGRESS_SECONDS)
        else:
            self.stream.send(f": {self._standing()}\n\n".encode())
            self._set_timer(_SILENT_SECONDS)

    def _progress(self, *, first: bool) -> str:
        """The model's name first, then the standing whenever it changes, else a dot."""
        standing = self._standing()
        text = f"{_RULE}\nllama-swap loading model: {self.model.id}\n" if first else "."
        if standing != self._last_told:
            text += standing if first else f"\n{standing}"
        self._last_told = standing
        return text

    def _standing(self) -> str:
        waiter = self.site.supervisor.waiter(self.request_id)
        if waiter is None:
            return f"{self.model.id} is loading"
        return f"Queue position: #{waiter.position} ({waiter.blocked_by or 'next'})"

    def _chunk(self, text: str) -> bytes:
        """A whole chat.completion.chunk, which strict SDKs accept."""
        chunk = {
            "id": f"chatcmpl-llama-swap-{self.request_id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": self.visit.requested,
            "choices": [{"index": 0, "delta": {"role": "assistant", "reasoning_content": text}, "finish_reason": None}],
        }
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def waiting_for(request: web.Request, model: Model, visit: Visit) -> Waiting | None:
    """The wait of a request whose client wants a stream; None where that cannot begin early.

    Where the body is not read (``/upstream``, forms), ``Accept: text/event-stream`` says that a stream is wanted.
    """
    head, site = visit.head, visit.site
    if head.wants_websocket or not can_begin_early(request):
        return None
    tells_progress = visit.stream and model.send_loading_state and head.path.startswith(_CHAT)
    return Waiting(request, site, model, visit, site.supervisor.new_request_id(), tells_progress)
