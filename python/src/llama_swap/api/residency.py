"""Who stays loaded, by hand: load, pin and unpin a model."""

from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web

from llama_swap.api.control import model_called
from llama_swap.api.memory import seconds_as_json
from llama_swap.api.orders import read_order
from llama_swap.api.site import site_of
from llama_swap.api.terms import KEEP_ALIVE, TTL, capped, keep_alive_seconds
from llama_swap.api.visit import visit_of
from llama_swap.config import Config, Model
from llama_swap.errors import Reason, RequestError

_UNSAID = msgspec.Raw(b"null")


class LoadOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a load request.

    Attributes:
        model: which, where the path does not say.
        keep_alive: how long it shall stay from now on when idle, in the forms of a request's body.
        ttl: the same.
    """

    model: str | None = None
    keep_alive: msgspec.Raw = _UNSAID
    ttl: msgspec.Raw = _UNSAID


async def load(request: web.Request) -> web.Response:
    """``POST /api/models/load/{model}``, or the model in the body: answer when it is ready."""
    site, order = site_of(request), await read_order(request, LoadOrder)
    model = _named(site.config, request.match_info.get("model"), order.model)
    terms = visit_of(request).terms
    seconds = keep_alive_seconds(KEEP_ALIVE, bytes(order.keep_alive))
    if seconds is None:
        seconds = keep_alive_seconds(TTL, bytes(order.ttl))
    answer: dict[str, Any] = {"msg": "ok", "model": model.id}
    if seconds is not None:
        terms = replace(terms, keep_alive_seconds=capped(seconds, model, site.config))
        answer["keep_alive_seconds"] = seconds_as_json(terms.keep_alive_seconds)
    await site.supervisor.load(model.id, terms=terms)
    return web.json_response(answer)


def _named(config: Config, in_path: str | None, in_body: str | None) -> Model:
    """The model that is meant; raises RequestError for none, and for two different ones."""
    models = [model_called(config, name) for name in (in_path, in_body) if name]
    if not models:
        raise RequestError(Reason.MODEL_MISSING, 'no model is named: put it into the path or as "model" into the body')
    if any(model.id != models[0].id for model in models):
        raise RequestError(Reason.INVALID_REQUEST, f'the path names model "{in_path}" and the body "{in_body}"')
    return models[0]


async def pin(request: web.Request) -> web.Response:
    """``POST /api/models/pin/{model}``: neither evict it nor unload it for being idle until it is unpinned."""
    site = site_of(request)
    model = model_called(site.config, request.match_info["model"])
    site.supervisor.pin(model.id)
    return web.json_response({"msg": "ok", "model": model.id, "pinned": True})


async def unpin(request: web.Request) -> web.Response:
    """``POST /api/models/unpin/{model}``: treat it like the others, whatever the configuration says."""
    site = site_of(request)
    model = model_called(site.config, request.match_info["model"])
    site.supervisor.unpin(model.id)
    return web.json_response({"msg": "ok", "model": model.id, "pinned": False})


def routes() -> list[web.RouteDef]:
    """What llama-swap does not have."""
    return [
        web.post("/api/models/load", load),
        web.post("/api/models/load/{model:.+}", load),
        web.post("/api/models/pin/{model:.+}", pin),
        web.post("/api/models/unpin/{model:.+}", unpin),
    ]
