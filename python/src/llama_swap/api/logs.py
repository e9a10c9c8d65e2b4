"""The logs over HTTP: what is kept, and what is written from now on, as plain text."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from llama_swap.errors import Reason, RequestError
from llama_swap.logs import COMBINED, PROXY, UPSTREAM, LogHub

_TEXT = "text/plain; charset=utf-8"
# A proxy in front of us must not hold lines back, and a browser must not take a model's output for a page.
_STREAM_HEADERS = {
    "Content-Type": _TEXT,
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(hub: LogHub, is_model: Callable[[str], bool]) -> list[web.RouteDef]:
    """``/logs`` and ``/logs/stream[/proxy|/upstream|/{model}]``, as llama-swap has them.

    Args:
        hub: where the lines are.
        is_model: whether an ID is that of a configured model; IDs may contain slashes.
    """
    return [
        web.get("/logs", _history_handler(hub)),
        web.get("/logs/stream", _stream_handler(hub, is_model)),
        web.get("/logs/stream/{monitor:.+}", _stream_handler(hub, is_model)),
    ]


def _history_handler(hub: LogHub) -> _Handler:
    async def history(request: web.Request) -> web.StreamResponse:
        """The combined log as it is kept; a browser is shown the status page instead."""
        if "text/html" in request.headers.get("Accept", ""):
            raise web.HTTPFound("/ui/")
        return web.Response(body=hub.history(COMBINED), headers=_STREAM_HEADERS)

    return history


def _stream_handler(hub: LogHub, is_model: Callable[[str], bool]) -> _Handler:
    async def stream(request: web.Request) -> web.StreamResponse:
        """History, then live lines until the client leaves or the service ends.

        ``?no-history`` leaves out what is kept (llama-swap's), ``?no-follow`` ends after it (ours).
        """
        monitor = request.match_info.get("monitor", COMBINED)
        if monitor not in (COMBINED, PROXY, UPSTREAM) and not is_model(monitor):
            raise RequestError(
                Reason.INVALID_REQUEST, "invalid logger. Use 'proxy', 'upstream' or a model's ID" + _shown(monitor)
            )
        if "no-follow" in request.query:
            return web.Response(body=hub.history(monitor), headers=_STREAM_HEADERS)
        return await _follow(request, hub, monitor)

    return stream


async def _follow(request: web.Request, hub: LogHub, monitor: str) -> web.StreamResponse:
    response = web.StreamResponse(headers=_STREAM_HEADERS)
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    with hub.subscribe(monitor, history="no-history" not in request.query) as lines:
        await response.prepare(request)
        async for chunk in lines:
            await response.write(chunk)
    return response


def _shown(monitor: str) -> str:
    limit = 200
    return f", not '{monitor[:limit]}'"
