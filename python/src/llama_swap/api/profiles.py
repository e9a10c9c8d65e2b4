"""Profiles: sets of pins of which one may be active; none is after a start or reload (llama-swap v250, profiles)."""

import json
from typing import Any

from aiohttp import web

from llama_swap.api.site import site_of
from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.body import read_body

_BODY_BYTES = 64 * 1024


async def list_profiles(request: web.Request) -> web.Response:
    """``GET /api/profiles``: all of them, and which one is active."""
    site = site_of(request)
    profiles = [
        {"id": name, "description": profile.description, "pins": dict(profile.pins)}
        for name, profile in sorted(site.config.profiles.items())
    ]
    return web.json_response({"active": site.profile_switch.active, "profiles": profiles})


async def set_active(request: web.Request) -> web.Response:
    """``PUT /api/profiles/active`` with ``{"name": NAME}``, or null or "" for none."""
    site = site_of(request)
    name = _name_in(await read_body(request, limit_bytes=_BODY_BYTES))
    if name is not None and name not in site.config.profiles:
        raise RequestError(Reason.NOT_FOUND, f'profile "{name}" not found')
    site.profile_switch.activate(name)
    return web.json_response({"active": name})


def _name_in(body: bytes) -> str | None:
    try:
        data: Any = json.loads(body)
    except ValueError as error:
        raise RequestError(Reason.INVALID_REQUEST, f"invalid profile request: {error}") from error
    if not isinstance(data, dict):
        raise RequestError(Reason.INVALID_REQUEST, 'invalid profile request: send {"name": NAME} or {"name": null}')
    if "name" not in data:
        raise RequestError(Reason.INVALID_REQUEST, "profile name is required")
    name = data["name"]
    if name is not None and not isinstance(name, str):
        raise RequestError(Reason.INVALID_REQUEST, "profile name must be a string or null")
    return name or None


def routes() -> list[web.RouteDef]:
    """List and switch."""
    return [web.get("/api/profiles", list_profiles), web.put("/api/profiles/active", set_active)]
