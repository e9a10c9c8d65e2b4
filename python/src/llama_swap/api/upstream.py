"""``/upstream/{model}/{path}``: a model's own server, as it is: no filters, no renaming (llama-swap v250, upstream)."""

from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import web

from llama_swap.api.relay import raw_target, relay
from llama_swap.api.site import site_of, visit_of
from llama_swap.config import Config, Model
from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.body import StreamedBody
from llama_swap.scheduler.state import Phase

_PREFIX = "/upstream/"


@dataclass(frozen=True, slots=True)
class UpstreamPath:
    """A model and the rest of the path, still percent-encoded as the client sent it; None: the slash is missing."""

    model: Model
    requested: str
    rest: str | None


def split_path(config: Config, raw_path: str) -> UpstreamPath | None:
    """Find the longest model name at the start of ``/upstream/...``; names may contain ``/``, also as ``%2F``."""
    segments = raw_path.removeprefix(_PREFIX).split("/")
    for count in range(len(segments), 0, -1):
        name = unquote("/".join(segments[:count]))
        model = config.find(name)
        if model is not None:
            rest = "/" + "/".join(segments[count:]) if count < len(segments) else None
            return UpstreamPath(model, name, rest)
    return None


async def to_upstream(request: web.Request) -> web.StreamResponse:
    """Forward any request to a model's server, starting it where the path is not one of ``upstream.ignorePaths``."""
    site, visit = site_of(request), visit_of(request)
    path, question, query = raw_target(request).partition("?")
    found = split_path(site.config, path)
    if found is None:
        name = unquote(path.removeprefix(_PREFIX).partition("/")[0])
        raise RequestError(Reason.MODEL_UNKNOWN, f'model not found: no model name starts the path at "{name}"')
    if found.rest is None:
        status = web.HTTPMovedPermanently if request.method in ("GET", "HEAD") else web.HTTPPermanentRedirect
        raise status(f"{path}/{question}{query}")
    visit.requested, visit.model = found.requested, found.model.id
    _require_loaded_for_assets(request, found)
    body = StreamedBody(request, limit_bytes=site.config.max_body_bytes) if request.body_exists else None
    return await relay(request, found.model, target=f"{found.rest}{question}{query}", body=body)


def _require_loaded_for_assets(request: web.Request, found: UpstreamPath) -> None:
    """A browser's request for an icon or a script must not load a model."""
    site = site_of(request)
    if not any(pattern.search(found.rest or "") for pattern in site.config.ignore_paths):
        return
    phases = {view.phase for view in site.supervisor.snapshot().instances if view.model == found.model.id}
    if not phases & {Phase.READY, Phase.DRAINING}:
        rule = "path matches upstream.ignorePaths"
        raise RequestError(Reason.NOT_LOADED, f"model {found.model.id} is not loaded; {rule}")


def routes() -> list[web.RouteDef]:
    """Any method below ``/upstream/``."""
    return [web.route("*", "/upstream/{path:.*}", to_upstream)]
