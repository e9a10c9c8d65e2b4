"""The requests in flight over HTTP: a list of them, and a way to end one (llama-swap v250)."""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from llama_swap.activity import InflightTable
from llama_swap.errors import Reason, RequestError

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(table: InflightTable) -> list[web.RouteDef]:
    """``POST /api/inflight/{id}/cancel``, and ``GET /api/inflight`` of ours."""
    return [
        web.get("/api/inflight", _list_handler(table)),
        web.post("/api/inflight/{id}/cancel", _cancel_handler(table)),
    ]


def _list_handler(table: InflightTable) -> _Handler:
    async def inflight(_request: web.Request) -> web.StreamResponse:
        """Every request that waits or is served, oldest first, for those who do not follow ``/api/events``."""
        requests = table.snapshot().get("requests", [])
        return web.Response(body=msgspec.json.encode({"requests": requests}), content_type="application/json")

    return inflight


def _cancel_handler(table: InflightTable) -> _Handler:
    async def cancel(request: web.Request) -> web.StreamResponse:
        """End a request, whoever sent it."""
        if not table.cancel(request.match_info["id"]):
            raise RequestError(Reason.NOT_FOUND, "inflight request not found")
        return web.json_response({"msg": "ok"})

    return cancel
