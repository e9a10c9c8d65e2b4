"""Inbound HTTP: thin aiohttp handlers, one module a family, one table of errors."""

from typing import Any, cast

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
from llama_swap.api.guard import Guard, sign
from llama_swap.api.site import SITE, Site
from llama_swap.proxy import front

__all__ = ["build_application", "open_runner"]


async def open_runner(site: Site) -> web.AppRunner:
    """All routes of the service behind the guard, ready to listen."""
    runner = front.make_runner(build_application(site))
    await runner.setup()
    guard(runner, site)
    return runner


def guard(runner: web.AppRunner, site: Site) -> None:
    """Let every request to a runner that was set up pass the guard before any route."""
    server = runner.server
    assert server is not None  # noqa: S101 - it was set up
    # The server of an application makes `web.Request`, of which its type does not know.
    server.request_handler = cast("Any", Guard(site, server.request_handler).serve)


def build_application(site: Site) -> web.Application:
    """All routes of the service."""
    # Bodies are read by the data plane under its own limit.
    application = web.Application(client_max_size=0)
    application[SITE] = site
    application.on_response_prepare.append(sign)
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
