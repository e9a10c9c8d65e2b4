"""What runs, and the levers: running, load, unload, status, story, health, version."""

from typing import Any

from aiohttp import web

from llama_swap.api.site import Site, site_of
from llama_swap.api.story import tell
from llama_swap.config import Model
from llama_swap.errors import Reason, RequestError
from llama_swap.scheduler.snapshot import InstanceView
from llama_swap.scheduler.state import Phase

# llama-swap knows no draining: such a model still serves.
_LLAMA_SWAP_STATE = {
    Phase.STARTING: "starting",
    Phase.READY: "ready",
    Phase.DRAINING: "ready",
    Phase.STOPPING: "stopping",
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
        "ttl": _number(current.ttl_seconds),
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
    model = _model_in_path(request)
    await site_of(request).supervisor.unload(model.id)
    return web.Response(text="OK")


async def api_load(request: web.Request) -> web.Response:
    """``POST /api/models/load/{model}``: answer when the model is ready."""
    model = _model_in_path(request)
    await site_of(request).supervisor.load(model.id)
    return web.json_response({"msg": "ok", "model": model.id})


def _model_in_path(request: web.Request) -> Model:
    config, name = site_of(request).config, request.match_info["model"]
    model = config.find(name)
    if model is None:
        nearest = config.nearest(name)
        hint = f', did you mean "{nearest}"?' if nearest else ""
        raise RequestError(Reason.MODEL_UNKNOWN, f'model not found: "{name}"{hint}')
    return model


async def status(request: web.Request) -> web.Response:
    """``GET /api/status``: every configured model with its state, queue and reason; for people and the status page."""
    site = site_of(request)
    snapshot = site.supervisor.snapshot()
    instances = {view.model: view for view in snapshot.instances}
    rows = []
    for view in snapshot.models:
        model = site.config.models[view.model]
        row: dict[str, Any] = {
            "id": model.id,
            "name": model.name,
            "state": view.standing.value,
            "waiting": view.waiting,
            "last_error": view.last_failure,
            "next_try_in_seconds": _until(view.next_try_at, snapshot.at),
            "ttl_seconds": _number(model.ttl_seconds),
        }
        if model.id in instances:
            row |= _instance_row(site, instances[model.id], snapshot.at)
        rows.append(row)
    queue = [
        {
            "model": waiter.model,
            "position": waiter.position,
            "waited_seconds": round(waiter.waited_seconds, 3),
            "blocked_by": waiter.blocked_by,
        }
        for waiter in snapshot.queue
    ]
    return web.json_response({"models": rows, "queue": queue})


def _instance_row(site: Site, view: InstanceView, now: float) -> dict[str, Any]:
    instance = site.supervisor.instance_of(view.model)
    return {
        "in_service": view.leases,
        "because": view.because,
        "since_seconds": round(now - view.since, 3),
        "unload_in_seconds": _until(view.unload_at, now),
        "pid": instance.process.pid if instance is not None and instance.process is not None else None,
        "port": instance.model.port if instance is not None else None,
    }


async def story(request: web.Request) -> web.Response:
    """``GET /api/story/{model}``: the last events and decisions about a model, oldest first."""
    model, site = _model_in_path(request), site_of(request)
    now = site.supervisor.snapshot().at
    entries = [
        {"at_seconds": round(entry.at - now, 3), "kind": kind, "text": text}
        for entry in site.supervisor.story(model.id)
        for kind, text in tell(entry)
    ]
    return web.json_response({"model": model.id, "entries": entries})


def _until(deadline: float | None, now: float) -> float | None:
    return None if deadline is None else round(max(0.0, deadline - now), 3)


def _number(seconds: float) -> float | int:
    """Whole seconds as an integer, as llama-swap prints them."""
    return int(seconds) if seconds == int(seconds) else seconds


def routes() -> list[web.RouteDef]:
    """Control routes of llama-swap and ours beside them."""
    return [
        web.get("/health", health),
        web.get("/wol-health", health),
        web.get("/running", running),
        web.get("/unload", unload_all),
        web.post("/api/models/unload", api_unload_all),
        web.post("/api/models/unload/{model:.+}", api_unload),
        web.post("/api/models/load/{model:.+}", api_load),
        web.get("/api/status", status),
        web.get("/api/story/{model:.+}", story),
        web.get("/api/version", version),
    ]
