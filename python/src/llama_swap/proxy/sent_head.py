"""The head of a request to an upstream, written once for a head that a client's connection repeats."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from llama_swap.proxy.exchange import Outgoing
from llama_swap.proxy.headers import request_headers, request_line, serialize
from llama_swap.proxy.upstream import Upstream

if TYPE_CHECKING:
    from llama_swap.proxy.request_head import RequestHead


def request_head(
    request: web.BaseRequest, upstream: Upstream, outgoing: Outgoing, hop: Sequence[tuple[bytes, bytes]]
) -> bytes:
    """The head of the request to the upstream, with headers for this connection alone.

    What was written last for a head of the client is kept with it, around the digits of the length: everything else
    that decides is compared, or is the same on one connection (the client's address).

    Raises:
        RequestError: INVALID_REQUEST where the request cannot be written without ambiguity.
    """
    body = outgoing.body
    length = len(body) if isinstance(body, bytes) else body.length_bytes if body is not None else None
    seen: RequestHead | None = getattr(request.protocol, "head", None)
    if seen is None or length is None or outgoing.headers is not request.raw_headers:
        return _write(request, upstream, outgoing, hop, length)
    asked = (
        upstream.authority,
        upstream.prefix,
        outgoing.method,
        outgoing.target,
        outgoing.drop_headers,
        outgoing.readable,
        outgoing.hides_client,
        hop,
    )
    if seen.sent is None or seen.sent[0] != asked:
        # Ours is the last one that looks like it: after it comes only what ``hop`` holds, and the client's is left out.
        written = _write(request, upstream, outgoing, hop, length)
        before, _, after = written.rpartition(b"\r\nContent-Length: %d\r\n" % length)
        seen.sent = asked, before + b"\r\nContent-Length: ", b"\r\n" + after
    _, before, after = seen.sent
    return b"%b%d%b" % (before, length, after)


def _write(
    request: web.BaseRequest,
    upstream: Upstream,
    outgoing: Outgoing,
    hop: Sequence[tuple[bytes, bytes]],
    length: int | None,
) -> bytes:
    headers = request_headers(
        outgoing.headers,
        authority=upstream.authority,
        remote=None if outgoing.hides_client else request.remote,
        dropped=outgoing.drop_headers,
        method=outgoing.method,
        length_bytes=length,
        chunked=outgoing.body is not None and length is None,
        hop=hop,
        readable=outgoing.readable,
    )
    return serialize(request_line(outgoing.method, upstream.prefix, outgoing.target), headers)
