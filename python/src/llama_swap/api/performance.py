"""The last hour of the machine, and what it is made of, as llama-swap tells them (v250)."""

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from llama_swap.errors import Reason, RequestError
from llama_swap.metrics import PerformanceRing

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_JSON = "application/json"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UNAVAILABLE = 503


def routes(ring: PerformanceRing, hardware: Callable[[], Awaitable[Mapping[str, Any]]]) -> list[web.RouteDef]:
    """``/api/performance`` and ``/api/hardware``.

    Args:
        ring: the samples.
        hardware: describes the machine when first asked and remembers it.
    """
    return [
        web.get("/api/performance", _performance_handler(ring)),
        web.get("/api/hardware", _hardware_handler(hardware)),
    ]


def _performance_handler(ring: PerformanceRing) -> _Handler:
    async def performance(request: web.Request) -> web.StreamResponse:
        """Up to an hour of samples, those later than ``?after=``; 503 while there are none to be had."""
        if ring.every_seconds is None:
            return web.Response(status=_UNAVAILABLE, body=ring.to_json(), content_type=_JSON)
        return web.Response(body=ring.to_json(_after(request.query.get("after", ""))), content_type=_JSON)

    return performance


def _hardware_handler(hardware: Callable[[], Awaitable[Mapping[str, Any]]]) -> _Handler:
    async def describe(_request: web.Request) -> web.StreamResponse:
        """Processors, memory, devices and the kind of machine."""
        return web.Response(body=msgspec.json.encode(await hardware()), content_type=_JSON)

    return describe


def _after(text: str) -> datetime | None:
    if not text:
        return None
    # A plus that was not percent-encoded arrives as a space.
    moment = text.replace(" ", "+")
    try:
        if _RFC3339.fullmatch(moment):
            return datetime.fromisoformat(moment.upper())
    except ValueError:  # the 31st of February
        pass
    raise RequestError(Reason.INVALID_REQUEST, "invalid 'after' timestamp, use RFC3339 format")
