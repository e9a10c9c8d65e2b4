"""``/api/yield``: leave devices to other programs for a while, and take them back."""

from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from llama_swap.api.memory import yields_as_json
from llama_swap.api.orders import read_order
from llama_swap.api.site import Site, site_of
from llama_swap.durations import FORMS, parse_duration
from llama_swap.errors import Reason, RequestError
from llama_swap.scheduler.snapshot import PoolView, Snapshot
from llama_swap.scheduler.state import Phase

_HOLDER = "api"
_LONGEST_TEXT = 200
# The scheduler's own yields, which begin and end with the pressure of other programs.
_RESERVED = "auto:"


class YieldOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a yield.

    Attributes:
        holder: who asks; asking again replaces what the same one asked for before.
        seconds: for how long, ``for`` in JSON; None is until it is ended.
        gpu: numbers, or UUIDs as far as they mean one device; left out is all.
        because: what clients are told meanwhile.
    """

    holder: str = _HOLDER
    seconds: float | str | None = msgspec.field(default=None, name="for")
    gpu: int | str | list[int | str] | None = None
    because: str = ""


async def show(request: web.Request) -> web.Response:
    """``GET /api/yield``: who has which devices, and for how long."""
    return web.json_response({"yields": yields_as_json(site_of(request).supervisor.snapshot())})


async def begin(request: web.Request) -> web.Response:
    """``POST /api/yield``: idle models leave now, busy ones within ``yield.drain``; answers what that means."""
    site, order = site_of(request), await read_order(request, YieldOrder)
    before, holder = site.supervisor.snapshot(), _holder(order.holder)
    site.supervisor.request_yield(
        holder,
        devices=_devices(order.gpu, before),
        seconds=_seconds(order.seconds),
        because=_short("because", order.because),
    )
    replaced = next((held for held in yields_as_json(before) if held["holder"] == holder), None)
    return web.json_response(_leaving(site, before) | {"replaced": replaced})


async def end(request: web.Request) -> web.Response:
    """``DELETE /api/yield?holder=``: give the devices back to the models; without a holder, whoever has them."""
    site, holder = site_of(request), request.query.get("holder")
    before = site.supervisor.snapshot()
    ended = [view.holder for view in before.yields if holder in (None, view.holder)]
    site.supervisor.end_yield(holder)
    return web.json_response({"ended": ended, "yields": yields_as_json(site.supervisor.snapshot())})


def _leaving(site: Site, before: Snapshot) -> dict[str, Any]:
    """The yields in force, and the models that leave because of the newest, idle ones and busy ones."""
    leaving = (Phase.DRAINING, Phase.STOPPING, Phase.RELEASING)
    going = {view.model for view in before.instances if view.phase in leaving}
    after = site.supervisor.snapshot()
    fresh = [view for view in after.instances if view.model not in going]
    return {
        "yields": yields_as_json(after),
        "stopping": sorted(view.model for view in fresh if view.phase is Phase.STOPPING),
        "draining": sorted(view.model for view in fresh if view.phase is Phase.DRAINING),
    }


def _holder(holder: str) -> str:
    if not holder.strip() or holder.startswith(_RESERVED):
        rule = f'it must be a name, and not one that begins with "{_RESERVED}"'
        raise RequestError(Reason.INVALID_REQUEST, f'holder: "{holder[:_LONGEST_TEXT]}" cannot be used: {rule}')
    return _short("holder", holder)


def _short(key: str, text: str) -> str:
    if len(text) > _LONGEST_TEXT or not text.isprintable():
        rule = f"must be one line of at most {_LONGEST_TEXT} characters"
        raise RequestError(Reason.INVALID_REQUEST, f"{key}: {rule}")
    return text


def _seconds(asked: float | str | None) -> float | None:
    if asked is None:
        return None
    try:
        seconds = parse_duration(str(asked))
    except ValueError:
        seconds = 0.0
    if seconds > 0:
        return seconds
    rule = f"must be {FORMS}, and more than 0; leave it out for a yield that lasts until it is ended"
    raise RequestError(Reason.INVALID_REQUEST, f'for: "{str(asked)[:_LONGEST_TEXT]}" {rule}')


def _devices(asked: int | str | list[int | str] | None, snapshot: Snapshot) -> tuple[str, ...]:
    """The devices by number or UUID; what cannot be known because nothing was measured yet passes."""
    if asked == []:
        raise RequestError(Reason.INVALID_REQUEST, "gpu: [] names no device; leave it out to yield all")
    names = () if asked is None else tuple(map(str, asked if isinstance(asked, list) else [asked]))
    known = [view for view in snapshot.pools if view.index is not None]
    return tuple(_device(name, known) for name in names) if known else names


def _device(name: str, known: Sequence[PoolView]) -> str:
    """The number as it is, or the whole UUID of the device that a name means."""
    meant = [view for view in known if _means(name, view)]
    if len(meant) == 1:
        return name if name.isdecimal() else meant[0].pool
    wrong = f'gpu: "{name[:_LONGEST_TEXT]}" is {"the beginning of several" if meant else "none"} of the devices'
    rule = "there are " + ", ".join(f"{view.index} ({view.label}, {view.pool})" for view in known)
    raise RequestError(Reason.INVALID_REQUEST, f"{wrong}: {rule}")


def _means(name: str, view: PoolView) -> bool:
    """Whether a device is called so: by its number, its UUID, or the beginning of that."""
    return name in {view.pool, str(view.index)} or ("-" in name[:-1] and view.pool.startswith(name))


def routes() -> list[web.RouteDef]:
    """One path, three methods."""
    return [web.get("/api/yield", show), web.post("/api/yield", begin), web.delete("/api/yield", end)]
