"""``GET /metrics``: what Prometheus reads."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from llama_swap.metrics import Metrics
from llama_swap.scheduler.snapshot import Snapshot

# Named here because the name in prometheus-client differs between its versions.
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(metrics: Metrics, snapshot: Callable[[], Snapshot]) -> list[web.RouteDef]:
    """``/metrics`` in text format 0.0.4.

    Unlike llama-swap's it is there too while ``performance`` is disabled: then only the series of the machine and the
    devices are missing.

    Args:
        metrics: what is counted.
        snapshot: the scheduler's state now, so that waits are those of this moment.
    """
    return [web.get("/metrics", _page_handler(metrics, snapshot))]


def _page_handler(metrics: Metrics, snapshot: Callable[[], Snapshot]) -> _Handler:
    async def page(_request: web.Request) -> web.StreamResponse:
        """All series now. Writing thousands of lines takes milliseconds, in which streams go on."""
        metrics.observe_snapshot(snapshot())
        body = await asyncio.to_thread(metrics.render)
        return web.Response(body=body, headers={"Content-Type": _CONTENT_TYPE})

    return page
