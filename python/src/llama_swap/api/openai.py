"""Routes that name their model: OpenAI's, Anthropic's and llama.cpp's (llama-swap v250, model routes)."""

import contextlib
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web

from llama_swap.api.directory import Destination
from llama_swap.api.dispatch import dispatch
from llama_swap.api.model_routes import INFER_ROUTES, QUERY_ROUTES
from llama_swap.api.names import find_destination
from llama_swap.api.terms import KEEP_ALIVE, TTL, as_in_json, take_residency
from llama_swap.api.visit import Visit, visit_of
from llama_swap.config import Model
from llama_swap.proxy.body import BodyRules, ModelField, apply_rules, read_body, read_model
from llama_swap.proxy.exchange import BodySource
from llama_swap.proxy.multipart import read_form, read_urlencoded, remove_urlencoded, rename_urlencoded


async def infer(request: web.Request, visit: Visit) -> web.StreamResponse:
    """A POST whose model stands in its JSON body, or in a form.

    JSON is recognised by how it begins, not by its content type: ``curl -d`` calls everything a form.
    """
    form = visit.head.form
    if form == "multipart/form-data":
        return await _infer_multipart(request, visit)
    site = visit.site
    body = await read_body(request, limit_bytes=site.supervisor.config.max_body_bytes)
    if form == "application/x-www-form-urlencoded" and not body.lstrip().startswith(b"{"):
        return await _infer_urlencoded(request, visit, body)
    asked = read_model(body)
    visit.stream = asked.stream
    destination = find_destination(site, asked.name if body else request.query.get("model"), visit)
    rules = destination.rules
    if isinstance(destination.served_by, Model):
        rules = take_residency(asked, rules, destination.served_by, visit, site.config)
    return await _send(request, visit, destination, apply_rules(body, rules))


async def _infer_urlencoded(request: web.Request, visit: Visit, body: bytes) -> web.StreamResponse:
    name = read_urlencoded(body, "model") or request.query.get("model")
    destination = find_destination(visit.site, name, visit)
    ours = _take_from_form(visit, destination, partial(read_urlencoded, body))
    body = remove_urlencoded(body, ours) if ours else body
    if new_name := destination.model_name:
        body = rename_urlencoded(body, new_name)
    return await _send(request, visit, destination, body)


async def _infer_multipart(request: web.Request, visit: Visit) -> web.StreamResponse:
    """An upload: read up to its file, or to its ``model`` behind that; the file passes from socket to socket."""
    names = ("model", KEEP_ALIVE, TTL)
    form = await read_form(request, limit_bytes=visit.site.config.max_body_bytes, names=names)
    with contextlib.closing(form):
        destination = find_destination(visit.site, form.model, visit)
        for name in _take_from_form(visit, destination, form.text):
            form.remove(name)
        if new_name := destination.model_name:
            form.rename(new_name)
        return await _send(request, visit, destination, form)


def _take_from_form(visit: Visit, destination: Destination, text: Callable[[str], str | None]) -> tuple[str, ...]:
    """Note how long the model shall stay; returns the fields that are not for its server."""
    if not isinstance(destination.served_by, Model):
        return ()
    asked = ModelField(None, stream=False, keep_alive=as_in_json(text(KEEP_ALIVE)), ttl=as_in_json(text(TTL)))
    return take_residency(asked, BodyRules(), destination.served_by, visit, visit.site.config).strip_params


async def infer_by_query(request: web.Request) -> web.StreamResponse:
    """A GET whose model stands in ``?model=``."""
    visit = visit_of(request)
    destination = find_destination(visit.site, request.query.get("model"), visit)
    return await _send(request, visit, destination, None)


def _send(
    request: web.Request, visit: Visit, destination: Destination, body: bytes | BodySource | None
) -> Awaitable[web.StreamResponse]:
    head = visit.head
    target = head.upstream_target
    if destination.renamed and "model" in request.query:
        path, _, query = target.partition("?")
        target = f"{path}?{rename_urlencoded(query.encode(), destination.name).decode()}"
    visit.site.metering.watch(request, visit, head.path, body, destination.metadata)
    return dispatch(request, visit, destination, target, body)


async def _infer_routed(request: web.Request) -> web.StreamResponse:
    return await infer(request, visit_of(request))


def routes() -> list[web.RouteDef]:
    """Every model route."""
    table: list[web.RouteDef] = [web.post(path, _infer_routed) for path in INFER_ROUTES]
    return table + [web.get(path, infer_by_query) for path in QUERY_ROUTES]
