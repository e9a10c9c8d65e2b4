"""One request to one model: wait for the lease, forward, release."""

from urllib.parse import urlsplit

from aiohttp import web

from llama_swap.api.auth import CREDENTIAL_HEADERS
from llama_swap.api.site import site_of, visit_of
from llama_swap.config import Model
from llama_swap.proxy.exchange import BodySource, Outcome, Outgoing
from llama_swap.proxy.forward import forward
from llama_swap.proxy.websocket import tunnel, wants_websocket


def raw_target(request: web.Request) -> str:
    """Path and query exactly as the client sent them; of an absolute-form target without scheme and host."""
    raw = request.raw_path
    if raw.startswith("/"):
        return raw
    parts = urlsplit(raw)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


async def relay(
    request: web.Request, model: Model, *, target: str, body: bytes | BodySource | None
) -> web.StreamResponse:
    """Forward a request to an instance of a model; the lease is held until the last byte of the answer."""
    site, visit = site_of(request), visit_of(request)
    async with site.supervisor.lease(model.id) as lease:
        visit.lease = lease
        dropped = CREDENTIAL_HEADERS if site.config.api_keys else frozenset[str]()
        if isinstance(body, bytes):
            dropped |= {"content-encoding"}  # it was unpacked to find the model
        outgoing = Outgoing(
            method=request.method,
            target=target,
            headers=request.raw_headers,
            body=body,
            model=model.id,
            drop_headers=dropped,
        )
        send = tunnel if wants_websocket(request) else forward
        try:
            return await send(request, lease.instance.upstream, outgoing, visit.exchange)
        finally:
            lease.served = visit.exchange.status > 0 and visit.exchange.outcome is not Outcome.UPSTREAM_DIED
