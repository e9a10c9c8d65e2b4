"""What runs, and llama-swap's levers: running, unload, story, health, version."""

from typing import Any

from aiohttp import web

from llama_swap.api.memory import seconds_as_json
from llama_swap.api.site import Site, site_of
from llama_swap.api.story import tell
from llama_swap.config import Config, Model
from llama_swap.errors import Reason, RequestError
from llama_swap.scheduler.snapshot import InstanceView
from llama_swap.scheduler.state import Phase

# llama-swap knows no draining: such a model still serves.
_LLAMA_SWAP_STATE = {
    Phase.STARTING: "starting",
    Phase.READY: "ready",
    Phase.DRAINING: "ready",
    Phase.STOPPING: "stopping",
    Phase.RELEASING: "stopping",
}


async def health(_request: web.Request) -> web.Response:
    """200 as long as the service serves; a wedged scheduler is the watchdog's business."""
    return web.Response(text="OK")


async def version(request: web.Request) -> web.Response:
    """Version, commit and build date."""
    own = site_of(request).version
    return web.json_response({"version": own.version, "commit": own.commit, "build_date": own.build_date})


async def running(request: web.Request) -> web.Response:
    """Every living instance, sorted by model."""
    site = site_of(request)
    rows = [_running_row(site, view) for view in site.supervisor.snapshot().instances]
    return web.json_response({"running": sorted(rows, key=lambda row: str(row["model"]))})


def _running_row(site: Site, view: InstanceView) -> dict[str, Any]:
    instance = site.supervisor.instance_of(view.model)
    model = instance.model if instance is not None else site.config.models[view.model]
    current = site.config.models.get(view.model, model)
    return {
        "model": view.model,
        "state": _LLAMA_SWAP_STATE[view.phase],
        "cmd": model.redacted_command,
        "proxy": model.proxy,
        "ttl": seconds_as_json(current.ttl_seconds),
        "name": current.name,
        "description": current.description,
    }


async def unload_all(request: web.Request) -> web.Response:
    """``GET /unload``: stop every model, answer when they are gone."""
    await site_of(request).supervisor.unload()
    return web.Response(text="OK")


async def api_unload_all(request: web.Request) -> web.Response:
    """``POST /api/models/unload``: the same, answered in JSON."""
    await site_of(request).supervisor.unload()
    return web.json_response({"msg": "ok"})


async def api_unload(request: web.Request) -> web.Response:
    """``POST /api/models/unload/{model}``: stop one model, answer when it is gone."""
    site = site_of(request)
    await site.supervisor.unload(model_called(site.config, request.match_info["model"]).id)
    return web.Response(text="OK")


def model_called(config: Config, name: str) -> Model:
    """The model with this ID or alias; raises RequestError when there is none."""
    model = config.find(name)
    if model is None:
        nearest = config.nearest(name)
        hint = f', did you mean "{nearest}"?' if nearest else ""
        raise RequestError(Reason.MODEL_UNKNOWN, f'model not found: "{name}"{hint}')
    return model


async def story(request: web.Request) -> web.Response:
    """``GET /api/story/{model}``: the last events and decisions about a model, oldest first."""
    site = site_of(request)
    model = model_called(site.config, request.match_info["model"])
    now = site.supervisor.snapshot().at
    entries = [
        {"at_seconds": round(entry.at - now, 3), "kind": kind, "text": text}
        for entry in site.supervisor.story(model.id)
        for kind, text in tell(entry)
    ]
    return web.json_response({"model": model.id, "entries": entries})


def routes() -> list[web.RouteDef]:
    """Control routes of llama-swap and ours beside them."""
    return [
        web.get("/health", health),
        web.get("/wol-health", health),
        web.get("/running", running),
        web.get("/unload", unload_all),
        web.post("/api/models/unload", api_unload_all),
        web.post("/api/models/unload/{model:.+}", api_unload),
        web.get("/api/story/{model:.+}", story),
        web.get("/api/version", version),
    ]
