"""A model's own server as it is, without filters: ``/upstream/{model}/{path}`` and ``/comfyui/`` (llama-swap v250)."""

from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import web

from llama_swap.api.directory import Destination
from llama_swap.api.dispatch import dispatch
from llama_swap.api.names import locate, pinned
from llama_swap.api.relay import is_loaded, relay
from llama_swap.api.site import Site
from llama_swap.api.visit import Visit, visit_of
from llama_swap.config import Model
from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.body import StreamedBody

_PREFIX = "/upstream/"
_COMFYUI = "/comfyui/"
COMFYUI_MODEL = "comfyui_auto"
"""llama-swap's fixed name of the model behind ``/comfyui/``."""


@dataclass(frozen=True, slots=True)
class UpstreamPath:
    """What serves ``/upstream/...``, and the rest of the path as the client sent it; None: the slash is missing."""

    destination: Destination
    rest: str | None


def split_path(site: Site, raw_path: str, visit: Visit) -> UpstreamPath:
    """Find the longest name at the start of ``/upstream/...``; names may contain ``/``, also as ``%2F``.

    Pins, aliases and peers count, selectors do not. Raises RequestError when nothing is called so.
    """
    segments = raw_path.removeprefix(_PREFIX).split("/")
    for count in range(len(segments), 0, -1):
        requested = unquote("/".join(segments[:count]))
        name = pinned(site, requested)
        if site.config.find(name) is not None or site.config.find_peer_model(name) is not None:
            visit.requested = requested
            rest = "/" + "/".join(segments[count:]) if count < len(segments) else None
            return UpstreamPath(locate(site, name, requested, visit), rest)
    raise RequestError(
        Reason.MODEL_UNKNOWN, f'model not found: no model name starts the path at "{unquote(segments[0])}"'
    )


async def to_upstream(request: web.Request) -> web.StreamResponse:
    """Forward any request to a model's server, starting it where the path is not one of ``upstream.ignorePaths``."""
    visit = visit_of(request)
    site = visit.site
    path, question, query = visit.head.target.partition("?")
    found = split_path(site, path, visit)
    if found.rest is None:
        status = web.HTTPMovedPermanently if request.method in ("GET", "HEAD") else web.HTTPPermanentRedirect
        raise status(f"{path}/{question}{query}")
    body = StreamedBody(request, limit_bytes=site.config.max_body_bytes) if request.body_exists else None
    target = f"{found.rest}{question}{query}"
    if isinstance(found.destination.served_by, Model):
        _require_loaded_for_assets(site, found.destination.served_by, found.rest)
    if site.metering.covers(request.method, found.rest):
        site.metering.watch(request, visit, found.rest, body, found.destination.metadata)
    return await dispatch(request, visit, found.destination, target, body)


def _require_loaded_for_assets(site: Site, model: Model, path: str) -> None:
    """A browser's request for an icon or a script must not load a model."""
    if not any(pattern.search(path) for pattern in site.config.ignore_paths) or is_loaded(site, model):
        return
    raise RequestError(Reason.NOT_LOADED, f"model {model.id} is not loaded; path matches upstream.ignorePaths")


async def comfyui_root(request: web.Request) -> web.StreamResponse:
    """``/comfyui`` is ``/comfyui/``."""
    status = web.HTTPMovedPermanently if request.method in ("GET", "HEAD") else web.HTTPPermanentRedirect
    _, question, query = visit_of(request).head.target.partition("?")
    raise status(f"{_COMFYUI}{question}{query}")


async def to_comfyui(request: web.Request) -> web.StreamResponse:
    """``/comfyui/...``: the model ``comfyui_auto``; only its front page may start it."""
    visit = visit_of(request)
    site = visit.site
    model = site.config.models.get(COMFYUI_MODEL)
    if model is None:
        raise RequestError(Reason.MODEL_UNKNOWN, f"local model {COMFYUI_MODEL} not found")
    visit.requested = visit.model = model.id
    target = visit.head.target.removeprefix("/comfyui")
    if target.partition("?")[0] != "/" and not is_loaded(site, model):
        raise RequestError(Reason.NOT_LOADED, f"model {model.id} is not loaded; only {_COMFYUI} can start it")
    body = StreamedBody(request, limit_bytes=site.config.max_body_bytes) if request.body_exists else None
    return await relay(request, visit, model, target, body)


def routes() -> list[web.RouteDef]:
    """Any method below ``/upstream/`` and ``/comfyui/``."""
    return [
        web.route("*", "/upstream/{path:.*}", to_upstream),
        web.route("*", "/comfyui", comfyui_root),
        web.route("*", "/comfyui/{path:.*}", to_comfyui),
    ]
