"""Send a request where it belongs: to a local model or to a peer."""

from collections.abc import Awaitable

from aiohttp import web

from llama_swap.api.directory import Destination
from llama_swap.api.peers import relay_to_peer
from llama_swap.api.relay import relay
from llama_swap.api.visit import Visit
from llama_swap.config import Model
from llama_swap.proxy.exchange import BodySource


def dispatch(
    request: web.Request, visit: Visit, destination: Destination, target: str, body: bytes | BodySource | None
) -> Awaitable[web.StreamResponse]:
    """Forward a request to a model.

    Args:
        request: as it came.
        visit: its notes.
        destination: what serves it.
        target: path and query for the upstream.
        body: for the upstream.
    """
    if isinstance(destination.served_by, Model):
        return relay(request, visit, destination.served_by, target, body)
    return relay_to_peer(request, visit, destination.served_by, target, body)
