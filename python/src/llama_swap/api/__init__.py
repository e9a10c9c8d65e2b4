"""Inbound HTTP: thin aiohttp handlers, one module a family, one table of errors."""

from aiohttp import web

from llama_swap.api import (
    activity,
    captures,
    control,
    events,
    explain,
    inflight,
    logs,
    metrics,
    models,
    openai,
    performance,
    profiles,
    residency,
    status,
    ui,
    upstream,
    yielding,
)
from llama_swap.api.guard import guard
from llama_swap.api.site import SITE, Site

__all__ = ["build_application"]


def build_application(site: Site) -> web.Application:
    """All routes of the service behind the guard."""
    # Bodies are read by the data plane under its own limit.
    application = web.Application(middlewares=[guard], client_max_size=0)
    application[SITE] = site
    application.on_response_prepare.append(_sign)
    application.add_routes(openai.routes())
    application.add_routes(models.routes())
    application.add_routes(control.routes())
    application.add_routes(status.routes())
    application.add_routes(residency.routes())
    application.add_routes(yielding.routes())
    application.add_routes(explain.routes())
    application.add_routes(profiles.routes())
    application.add_routes(logs.routes(site.hub, lambda name: name in site.config.models))
    application.add_routes(activity.routes(site.store, site.metering.captures))
    application.add_routes(captures.routes(site.metering.captures))
    application.add_routes(inflight.routes(site.metering.table))
    supervisor = site.supervisor
    application.add_routes(metrics.routes(site.observation.metrics, supervisor.snapshot, supervisor.wait_measured))
    application.add_routes(performance.routes(site.observation.ring, site.observation.hardware.describe))
    application.add_routes(events.routes(site.observation.feed))
    application.add_routes(ui.routes())
    application.add_routes(upstream.routes())
    return application


async def _sign(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Name ourselves in our own answers, not the libraries and versions we are made of."""
    response.headers["Server"] = "llama-swap"
