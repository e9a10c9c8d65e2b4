"""Send a request where it belongs - to a local model or to a peer - and note what happens to it."""

from collections.abc import Awaitable, Mapping

from aiohttp import web

from llama_swap.api.directory import Destination
from llama_swap.api.peers import relay_to_peer
from llama_swap.api.relay import relay
from llama_swap.api.visit import Visit
from llama_swap.config import Model
from llama_swap.proxy.exchange import BodySource


async def dispatch(  # noqa: PLR0913 - what comes in, where it goes, and what of it
    request: web.Request,
    visit: Visit,
    destination: Destination,
    *,
    target: str,
    body: bytes | BodySource | None,
    path: str,
) -> web.StreamResponse:
    """Forward a request to a model, and meter it.

    Args:
        request: as it came.
        visit: its notes.
        destination: what serves it.
        target: path and query for the upstream.
        body: for the upstream.
        path: of its row: the route, or below ``/upstream/MODEL`` the rest.
    """
    metadata = row_metadata(visit.selector, destination) if visit.selector else destination.metadata
    with visit.site.metering.watch(request, visit, path=path, body=body, metadata=metadata):
        return await pass_on(request, visit, destination, target=target, body=body)


def row_metadata(selector: str, destination: Destination) -> Mapping[str, str]:
    """What chose the model and how urgent it is, where there is anything to say."""
    return {"selector": selector, **destination.metadata} if selector else destination.metadata


def pass_on(
    request: web.Request, visit: Visit, destination: Destination, *, target: str, body: bytes | BodySource | None
) -> Awaitable[web.StreamResponse]:
    """Forward any request."""
    if isinstance(destination.served_by, Model):
        return relay(request, visit, destination.served_by, target=target, body=body)
    return relay_to_peer(request, visit, destination.served_by, target=target, body=body)
