"""Send a request where it belongs - to a local model or to a peer - and note what happens to it."""

from functools import partial

from aiohttp import web

from llama_swap.api.names import Destination
from llama_swap.api.peers import relay_to_peer
from llama_swap.api.relay import relay
from llama_swap.api.site import site_of
from llama_swap.api.visit import visit_of
from llama_swap.config import Config, Model
from llama_swap.proxy.exchange import BodySource


async def dispatch(
    request: web.Request, destination: Destination, *, target: str, body: bytes | BodySource | None, path: str
) -> web.StreamResponse:
    """Forward a request; the requests to models among them are metered.

    Args:
        request: as it came.
        destination: what serves it.
        target: path and query for the upstream.
        body: for the upstream.
        path: what decides whether it is a request to a model: the route, or below ``/upstream/MODEL`` the rest.
    """
    metering, visit = site_of(request).metering, visit_of(request)
    if not metering.covers(request.method, path):
        return await _send(request, destination, target, body)
    metadata = row_metadata(visit.selector, destination, site_of(request).config)
    held = b"" if body is None else body if isinstance(body, bytes) else None
    with metering.watch(request, visit, path=path, body=held, metadata=metadata) as meter:
        visit.entry = meter.entry
        visit.on_serve = partial(metering.serve, meter)
        visit.exchange.on_head = partial(metering.answered, meter)
        visit.exchange.on_piece = meter.sampler.add
        try:
            return await _send(request, destination, target, body)
        finally:
            # They refer to the meter, which refers to the visit: the body would stay until the collector comes.
            visit.on_serve = visit.exchange.on_head = visit.exchange.on_piece = None


def row_metadata(selector: str, destination: Destination, config: Config) -> dict[str, str]:
    """What chose the model and how urgent it is, where there is anything to say (llama-swap v250, activity rows)."""
    metadata = {"selector": selector} if selector else {}
    if isinstance(destination.served_by, Model):
        priority = config.scheduler.models[destination.served_by.id].priority
        if priority:
            metadata["fifo_priority"] = str(priority)
    return metadata


async def _send(
    request: web.Request, destination: Destination, target: str, body: bytes | BodySource | None
) -> web.StreamResponse:
    if isinstance(destination.served_by, Model):
        return await relay(request, destination.served_by, target=target, body=body)
    return await relay_to_peer(request, destination.served_by, target=target, body=body)
