"""``GET /api/status``: every configured model with its state, queue and reason, and the memory behind that."""

from typing import Any

from aiohttp import web

from llama_swap.api.memory import claims_as_json, devices_as_json, memory_as_json, seconds_as_json, yields_as_json
from llama_swap.api.site import Site, site_of
from llama_swap.scheduler.snapshot import InstanceView, ModelView, Snapshot, WaiterView


async def status(request: web.Request) -> web.Response:
    """All at one moment, with the memory as it is now; for people, the ``ps`` command and the status page."""
    site = site_of(request)
    await site.supervisor.wait_measured()
    snapshot = site.supervisor.snapshot()
    instances = {view.model: view for view in snapshot.instances}
    return web.json_response(
        {
            "models": [_model(site, snapshot, view, instances.get(view.model)) for view in snapshot.models],
            "queue": [_waiter(view) for view in snapshot.queue],
            "router": snapshot.rule.value,
            "memory": memory_as_json(snapshot),
            "yields": yields_as_json(snapshot),
        }
    )


def _model(site: Site, snapshot: Snapshot, view: ModelView, instance: InstanceView | None) -> dict[str, Any]:
    model = site.config.models[view.model]
    row: dict[str, Any] = {
        "id": model.id,
        "name": model.name,
        "state": view.standing.value,
        "waiting": view.waiting,
        "last_error": view.last_failure,
        "next_try_in_seconds": _until(view.next_try_at, snapshot.at),
        "ttl_seconds": seconds_as_json(model.ttl_seconds),
        "pinned": view.pinned,
    }
    return row if instance is None else row | _instance(site, snapshot, instance)


def _instance(site: Site, snapshot: Snapshot, view: InstanceView) -> dict[str, Any]:
    instance = site.supervisor.instance_of(view.model)
    return {
        "in_service": view.leases,
        "because": view.because,
        "since_seconds": round(snapshot.at - view.since, 3),
        "unload_in_seconds": _until(view.unload_at, snapshot.at),
        "devices": devices_as_json(snapshot, view.devices),
        "memory": claims_as_json(snapshot, view),
        "pid": instance.process.pid if instance is not None and instance.process is not None else None,
        "port": instance.model.port if instance is not None else None,
    }


def _waiter(view: WaiterView) -> dict[str, Any]:
    return {
        "model": view.model,
        "position": view.position,
        "waited_seconds": round(view.waited_seconds, 3),
        "blocked_by": view.blocked_by,
    }


def _until(deadline: float | None, now: float) -> float | None:
    return None if deadline is None else round(max(0.0, deadline - now), 3)


def routes() -> list[web.RouteDef]:
    """One route."""
    return [web.get("/api/status", status)]
