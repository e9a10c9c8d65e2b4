"""One request to a model of another server."""

from aiohttp import web

from llama_swap.api.auth import CREDENTIAL_HEADERS
from llama_swap.api.peer_servers import reached_at
from llama_swap.api.visit import Visit
from llama_swap.config import Peer, PeerModel
from llama_swap.errors import RequestError
from llama_swap.proxy.exchange import BodySource, Outcome, Outgoing
from llama_swap.proxy.forward import forward

# The caller's address, our name and our cookies are not the peer's business.
_PRIVATE = frozenset({b"host", b"cookie", b"forwarded", b"x-real-ip"})
_CREDENTIALS = frozenset(name.encode() for name in CREDENTIAL_HEADERS)


async def relay_to_peer(
    request: web.Request, visit: Visit, model: PeerModel, target: str, body: bytes | BodySource | None
) -> web.StreamResponse:
    """Forward a request to the server that has the model; its key replaces whatever the caller sent.

    Where keys are configured here, the caller's is ours and stays here; elsewhere it may be meant for the peer.
    """
    peer = model.peer
    server = visit.site.peers.of(peer)
    server.require_alive()
    outgoing = Outgoing(
        method=visit.head.method,
        target=target,
        headers=_headers(request, peer, keeps_credentials=not visit.head.has_our_key and not peer.api_key),
        body=body,
        model=model.qualified,
        drop_headers=frozenset({"content-encoding"} if isinstance(body, bytes) else ()),
        hides_client=True,
    )
    visit.serve()
    with server.serving(model.model, visit.exchange):
        try:
            return await forward(request, server.upstream, outgoing, visit.exchange)
        except RequestError as error:
            if visit.exchange.outcome is Outcome.UPSTREAM_FAILED and reached_at(visit.exchange) is None:
                server.note_failure(error.message)
            message = f"peer proxy error: {error.message}"
            raise RequestError(error.reason, message, retry_after_seconds=error.retry_after_seconds) from error
        finally:
            if (at := reached_at(visit.exchange)) is not None:
                server.note_reached(at)


def _headers(request: web.Request, peer: Peer, *, keeps_credentials: bool) -> list[tuple[bytes, bytes]]:
    dropped = _PRIVATE if keeps_credentials else _PRIVATE | _CREDENTIALS
    headers = [
        (name, value)
        for name, value in request.raw_headers
        if name.lower() not in dropped and not name.lower().startswith(b"x-forwarded-")
    ]
    if peer.api_key:
        key = peer.api_key.encode()
        headers += [(b"Authorization", b"Bearer " + key), (b"x-api-key", key)]
    return headers
