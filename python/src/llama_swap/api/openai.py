"""Routes that name their model: OpenAI's, Anthropic's and llama.cpp's (llama-swap v250, model routes)."""

import contextlib
from collections.abc import Callable
from functools import partial

from aiohttp import web

from llama_swap.api.dispatch import dispatch
from llama_swap.api.names import Destination, find_destination
from llama_swap.api.relay import raw_target
from llama_swap.api.site import site_of
from llama_swap.api.terms import KEEP_ALIVE, TTL, as_in_json, take_residency
from llama_swap.api.visit import visit_of
from llama_swap.config import Model
from llama_swap.proxy.body import BodyRules, ModelField, apply_rules, read_body, read_model
from llama_swap.proxy.exchange import BodySource
from llama_swap.proxy.multipart import read_form, read_urlencoded, remove_urlencoded, rename_urlencoded

JSON_ROUTES = (
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/completions",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/reranking",
    "/rerank",
    "/v1/rerank",
    "/v1/reranking",
    "/infill",
    "/completion",
    "/v1/audio/speech",
    "/v1/audio/voices",
    "/v1/images/generations",
    "/sdapi/v1/txt2img",
    "/sdapi/v1/img2img",
    "/audioapi/v1/tasks/run",
    "/v/chat/completions",
    "/v/responses",
    "/v/completions",
    "/v/messages",
    "/v/messages/count_tokens",
    "/v/embeddings",
    "/v/rerank",
    "/v/reranking",
)
FORM_ROUTES = ("/v1/audio/transcriptions", "/v1/images/edits")
QUERY_ROUTES = ("/v1/audio/voices", "/sdapi/v1/loras", "/props")


def upstream_target(target: str) -> str:
    """Path and query as the upstream knows them: ``/v/x`` is ``/x``, ``/audioapi/v1/x`` is ``/v1/x``."""
    if target.startswith("/audioapi/"):
        return target.removeprefix("/audioapi")
    if target.startswith("/v/"):
        return target.removeprefix("/v")
    return target


def body_rules(destination: Destination) -> BodyRules:
    """What the configuration changes in a body; setParamsByID goes by the name the client used, or was pinned to."""
    served_by = destination.served_by
    filters = served_by.filters if isinstance(served_by, Model) else served_by.peer.filters
    return BodyRules(
        use_model_name=upstream_name(destination),
        strip_params=filters.strip_params,
        set_params=filters.set_params,
        requested_params=filters.set_params_by_id.get(destination.name, {}),
    )


def upstream_name(destination: Destination) -> str | None:
    """The model name for the upstream where it differs from what the client sent."""
    served_by = destination.served_by
    if isinstance(served_by, Model) and served_by.use_model_name:
        return served_by.use_model_name
    return destination.name if destination.renamed else None


async def infer(request: web.Request) -> web.StreamResponse:
    """A POST whose model stands in its JSON body, or in a form.

    JSON is recognised by how it begins, not by its content type: ``curl -d`` calls everything a form.
    """
    kind = request.content_type
    if kind == "multipart/form-data":
        return await _infer_multipart(request)
    site, visit = site_of(request), visit_of(request)
    body = await read_body(request, limit_bytes=site.config.max_body_bytes)
    visit.exchange.request_bytes = len(body)
    if kind == "application/x-www-form-urlencoded" and not body.lstrip().startswith(b"{"):
        return await _infer_urlencoded(request, body)
    asked = read_model(body)
    visit.stream = asked.stream
    name = asked.name if body else request.query.get("model")
    destination = find_destination(site, name, visit)
    rules = body_rules(destination)
    if isinstance(destination.served_by, Model):
        rules = take_residency(asked, rules, destination.served_by, visit, site.config)
    return await _send(request, destination, apply_rules(body, rules))


async def _infer_urlencoded(request: web.Request, body: bytes) -> web.StreamResponse:
    name = read_urlencoded(body, "model") or request.query.get("model")
    destination = find_destination(site_of(request), name, visit_of(request))
    ours = _take_from_form(request, destination, partial(read_urlencoded, body))
    body = remove_urlencoded(body, ours) if ours else body
    if new_name := upstream_name(destination):
        body = rename_urlencoded(body, new_name)
    return await _send(request, destination, body)


async def _infer_multipart(request: web.Request) -> web.StreamResponse:
    """An upload: read up to its file, or to its ``model`` behind that; the file passes from socket to socket."""
    site = site_of(request)
    names = ("model", KEEP_ALIVE, TTL)
    form = await read_form(request, limit_bytes=site.config.max_body_bytes, names=names)
    with contextlib.closing(form):
        destination = find_destination(site, form.model, visit_of(request))
        for name in _take_from_form(request, destination, form.text):
            form.remove(name)
        if new_name := upstream_name(destination):
            form.rename(new_name)
        return await _send(request, destination, form)


def _take_from_form(
    request: web.Request, destination: Destination, text: Callable[[str], str | None]
) -> tuple[str, ...]:
    """Note how long the model shall stay; returns the fields that are not for its server."""
    if not isinstance(destination.served_by, Model):
        return ()
    asked = ModelField(None, stream=False, keep_alive=as_in_json(text(KEEP_ALIVE)), ttl=as_in_json(text(TTL)))
    visit, config = visit_of(request), site_of(request).config
    return take_residency(asked, BodyRules(), destination.served_by, visit, config).strip_params


async def infer_by_query(request: web.Request) -> web.StreamResponse:
    """A GET whose model stands in ``?model=``."""
    destination = find_destination(site_of(request), request.query.get("model"), visit_of(request))
    return await _send(request, destination, None)


async def _send(request: web.Request, destination: Destination, body: bytes | BodySource | None) -> web.StreamResponse:
    target = upstream_target(raw_target(request))
    if destination.renamed and "model" in request.query:
        path, _, query = target.partition("?")
        target = f"{path}?{rename_urlencoded(query.encode(), destination.name).decode()}"
    return await dispatch(request, destination, target=target, body=body, path=request.path)


def routes() -> list[web.RouteDef]:
    """Every model route."""
    table: list[web.RouteDef] = [web.post(path, infer) for path in (*JSON_ROUTES, *FORM_ROUTES)]
    return table + [web.get(path, infer_by_query) for path in QUERY_ROUTES]
