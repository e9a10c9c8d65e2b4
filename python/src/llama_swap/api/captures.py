"""Captured requests over HTTP (llama-swap v250)."""

import re
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from llama_swap.activity import Captures
from llama_swap.errors import Reason, RequestError

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ROW_ID = re.compile(r"[0-9]{1,19}")


def routes(captures: Captures) -> list[web.RouteDef]:
    """``GET /api/captures/{id}``."""
    return [web.get("/api/captures/{id}", _capture_handler(captures))]


def _capture_handler(captures: Captures) -> _Handler:
    async def capture(request: web.Request) -> web.StreamResponse:
        """The request and the answer behind an activity row."""
        row_id = request.match_info["id"]
        if not _ROW_ID.fullmatch(row_id):
            raise RequestError(Reason.INVALID_REQUEST, "invalid capture ID")
        found = captures.get(int(row_id))
        if found is None:
            raise RequestError(Reason.NOT_FOUND, "capture not found")
        # Somebody's prompt: it belongs in no cache on the way.
        headers = {"Cache-Control": "no-store"}
        return web.Response(body=msgspec.json.encode(found), content_type="application/json", headers=headers)

    return capture
