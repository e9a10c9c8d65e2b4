"""``GET /metrics``: what Prometheus reads, and what requests add to it."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from llama_swap.activity import Row
from llama_swap.metrics import Metrics
from llama_swap.scheduler.snapshot import Snapshot

# Named here because the name in prometheus-client differs between its versions.
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(
    metrics: Metrics, snapshot: Callable[[], Snapshot], wait_measured: Callable[[], Awaitable[None]]
) -> list[web.RouteDef]:
    """``/metrics`` in text format 0.0.4.

    Unlike llama-swap's it is there too while ``performance`` is disabled: then only the series of the machine and the
    devices are missing.

    Args:
        metrics: what is counted.
        snapshot: the scheduler's state now, so that waits are those of this moment.
        wait_measured: has the memory in it measured before.
    """
    return [web.get("/metrics", _page_handler(metrics, snapshot, wait_measured))]


def count_answer(metrics: Metrics, row: Row) -> None:
    """Count the tokens and speeds of a finished request; a listener of the activity's recorder."""
    first_token_seconds = None
    if row.resp_content_type.startswith("text/event-stream") and row.spans.first_token_ms >= 0:
        waited_ms = max(0.0, row.spans.queue_ms) + max(0.0, row.spans.load_ms)
        first_token_seconds = (waited_ms + row.spans.first_token_ms) / 1000
    metrics.observe_answer(row.model, row.tokens, first_token_seconds=first_token_seconds)


def _page_handler(
    metrics: Metrics, snapshot: Callable[[], Snapshot], wait_measured: Callable[[], Awaitable[None]]
) -> _Handler:
    async def page(_request: web.Request) -> web.StreamResponse:
        """All series now. Writing thousands of lines takes milliseconds, in which streams go on."""
        await wait_measured()
        metrics.observe_snapshot(snapshot())
        body = await asyncio.to_thread(metrics.render)
        return web.Response(body=body, headers={"Content-Type": _CONTENT_TYPE})

    return page
