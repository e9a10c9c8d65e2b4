"""The last hour of the machine, and what it is made of, as llama-swap tells them (v250)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from llama_swap.api.timestamps import read_timestamp
from llama_swap.metrics import PerformanceRing

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_JSON = "application/json"
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
        return web.Response(
            body=ring.to_json(read_timestamp("after", request.query.get("after", ""))), content_type=_JSON
        )

    return performance


def _hardware_handler(hardware: Callable[[], Awaitable[Mapping[str, Any]]]) -> _Handler:
    async def describe(_request: web.Request) -> web.StreamResponse:
        """Processors, memory, devices and the kind of machine."""
        return web.Response(body=msgspec.json.encode(await hardware()), content_type=_JSON)

    return describe
