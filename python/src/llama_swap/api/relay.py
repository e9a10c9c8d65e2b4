"""One request to one model: wait for the lease, forward, release."""

import asyncio
from collections.abc import Awaitable

from aiohttp import web
from msgspec.structs import replace

from llama_swap.api.auth import CREDENTIAL_HEADERS
from llama_swap.api.cancellation import CANCELLED, accept_cancellation
from llama_swap.api.site import Site
from llama_swap.api.visit import Visit
from llama_swap.api.waiting import Waiting, waiting_for
from llama_swap.config import Model
from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.early import EarlyStream
from llama_swap.proxy.exchange import BodySource, Outcome, Outgoing, is_replayable
from llama_swap.proxy.forward import forward
from llama_swap.proxy.websocket import tunnel
from llama_swap.supervisor import Instance

# From the last sign of a process to the moment it is reaped it takes milliseconds.
_DYING_SECONDS = 2.0
_DIED = Outcome.UPSTREAM_DIED
_NOTHING = frozenset[str]()
_CODING = frozenset({"content-encoding"})
_OURS_AND_CODING = CREDENTIAL_HEADERS | _CODING


def relay(
    request: web.Request, visit: Visit, model: Model, target: str, body: bytes | BodySource | None
) -> Awaitable[web.StreamResponse]:
    """Forward a request to an instance of a model; the lease is held until the last byte of the answer."""
    head = visit.head
    if isinstance(body, bytes):  # it was unpacked to find the model
        dropped = _OURS_AND_CODING if head.has_our_key else _CODING
    else:
        dropped = CREDENTIAL_HEADERS if head.has_our_key else _NOTHING
    outgoing = Outgoing(
        method=head.method,
        target=target,
        headers=request.raw_headers,
        body=body,
        model=model.id,
        drop_headers=dropped,
        readable=True,
    )
    if head.wants_websocket and model.ignore_websockets:
        return _join(request, visit, model, outgoing)
    waiting = waiting_for(request, model, visit) if visit.stream or head.accepts_stream else None
    if waiting is None:
        return _serve(request, visit, model, outgoing)
    return _serve_one_that_hears(request, visit, model, outgoing, waiting)


async def _serve_one_that_hears(
    request: web.Request, visit: Visit, model: Model, outgoing: Outgoing, waiting: Waiting
) -> web.StreamResponse:
    """Serve a client that is told how it stands while it waits."""
    try:
        return await _serve(request, visit, model, outgoing, waiting)
    except RequestError as error:
        answer = waiting.fail(error)
        if answer is None:
            raise
        return answer
    except asyncio.CancelledError:
        answer = waiting.fail(CANCELLED) if visit.is_cancelled_by_us else None
        if answer is None:
            raise
        accept_cancellation(request)
        return answer
    finally:
        waiting.end()


async def _serve(  # noqa: PLR0913 - what comes in, where it goes, and what is known of the attempt before
    request: web.Request,
    visit: Visit,
    model: Model,
    outgoing: Outgoing,
    waiting: Waiting | None = None,
    *,
    died: Instance | None = None,
) -> web.StreamResponse:
    """Serve; where the process was already dying, wait for its end and let the scheduler start another one, once.

    ``died`` is the instance that the attempt before came to.
    """
    supervisor, exchange = visit.site.supervisor, visit.exchange
    if waiting is None:
        leasing = supervisor.lease(model.id, terms=visit.terms)
    else:
        waiting.begin()
        leasing = supervisor.lease(model.id, waiting.request_id, terms=visit.terms)
    with leasing as lease:
        if not lease.granted_at:
            await lease.wait_grant()
        if waiting is not None:
            outgoing = _into_stream(outgoing, waiting.granted())
        visit.take(lease)
        send = tunnel if visit.head.wants_websocket else forward
        try:
            return await send(request, lease.upstream, outgoing, exchange)
        except RequestError as error:
            never_sent = error.reason is Reason.UPSTREAM_FAILED and not exchange.was_sent
            if not never_sent or not is_replayable(outgoing.body):
                await lease.instance.blame(error)
                raise
            if died is not None:
                raise
            failure = error.without_traceback()
        finally:
            lease.served = exchange.status > 0 and exchange.outcome is not _DIED
    if not await _is_gone(lease.instance):
        raise failure
    return await _serve_again(request, visit, model, outgoing, waiting, died=lease.instance)


async def _serve_again(  # noqa: PLR0913 - as above
    request: web.Request,
    visit: Visit,
    model: Model,
    outgoing: Outgoing,
    waiting: Waiting | None,
    *,
    died: Instance,
) -> web.StreamResponse:
    """Serve a request that came to an instance that was dying, which is gone now."""
    try:
        return await _serve(request, visit, model, outgoing, waiting, died=died)
    except RequestError as error:
        if error.reason is Reason.YIELDED and died.yielded_because:
            why, _ = await died.why_cut()
            text = f"model {model.id!r}: {why}"
            raise RequestError(error.reason, text, retry_after_seconds=error.retry_after_seconds) from error
        raise


async def _is_gone(instance: Instance) -> bool:
    try:
        await asyncio.wait_for(instance.gone.wait(), _DYING_SECONDS)
    except TimeoutError:
        return False
    return True


def _into_stream(outgoing: Outgoing, early: EarlyStream | None) -> Outgoing:
    """The request with its answer going into a stream that has begun, where it must not be compressed."""
    if early is None:
        return outgoing
    return replace(outgoing, early=early, drop_headers=outgoing.drop_headers | {"accept-encoding"})


async def _join(request: web.Request, visit: Visit, model: Model, outgoing: Outgoing) -> web.StreamResponse:
    """A WebSocket that neither starts nor holds its model (``compat.ignoreWebsockets``)."""
    site = visit.site
    if not is_loaded(site, model):
        rule = "with compat.ignoreWebsockets a WebSocket does not load it"
        raise RequestError(Reason.NOT_LOADED, f"model {model.id} is not loaded; {rule}")
    instance = site.supervisor.instance_of(model.id)
    assert instance is not None and instance.upstream is not None  # noqa: S101, PT018 - it is loaded
    return await tunnel(request, instance.upstream, outgoing, visit.exchange)


def is_loaded(site: Site, model: Model) -> bool:
    """Whether a model could serve right now."""
    instance = site.supervisor.instance_of(model.id)
    return instance is not None and instance.ready_at is not None and not instance.stop_asked
