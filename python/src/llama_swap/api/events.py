"""``GET /api/events``: everything that happens, as server-sent events in llama-swap's form (v250).

A frame is ``event:message`` with ``{"type": T, "data": "<JSON text>"}``. A client first gets the whole picture, then
what changes. One that does not keep up loses frames, and gets the whole picture again once it has caught up.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from llama_swap.activity import InflightTable
from llama_swap.broadcast import Broadcast, Listener
from llama_swap.config import Config
from llama_swap.logs import PROXY, UPSTREAM, LogHub
from llama_swap.scheduler.snapshot import Snapshot, Standing

KEEP_ALIVE_SECONDS = 30.0
PENDING_BYTES = 1024 * 1024
"""What may wait for one client."""
_KEEP_ALIVE = b":\n\n"
_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
# llama-swap knows neither draining, which still serves, nor a model that failed, which is stopped.
_STATES = {
    Standing.STARTING: "starting",
    Standing.READY: "ready",
    Standing.DRAINING: "ready",
    Standing.STOPPING: "stopping",
}


def frame(kind: str, data: object) -> bytes:
    """One event."""
    envelope = msgspec.json.encode({"type": kind, "data": msgspec.json.encode(data).decode()})
    return b"event:message\ndata:%b\n\n" % envelope


@dataclass(frozen=True, slots=True)
class Picture:
    """Where the state that clients are shown comes from.

    Attributes:
        models: rows of ``modelStatus``, for example by :func:`model_rows`.
        ui: the ``ui`` part of the configuration, as ``{"activity": {"session_id": [...]}}``.
        profile: the active profile, None when there is none.
    """

    models: Callable[[], Sequence[Mapping[str, Any]]]
    ui: Callable[[], Mapping[str, Any]]
    profile: Callable[[], str | None]


class EventFeed:
    """What happens, told to all who listen; belongs to the event loop and costs nearly nothing while nobody does."""

    def __init__(self, hub: LogHub, inflight: InflightTable, picture: Picture) -> None:
        self._hub = hub
        self._inflight = inflight
        self._picture = picture
        self._clients = Broadcast(limit_bytes=PENDING_BYTES)
        self._last_models = b""
        self._sources: list[Callable[[], None]] = []
        self._lines: dict[str, bytearray] = {}

    # -- what happens ---------------------------------------------------------

    def models_changed(self) -> None:
        """The state of a model may be another one, or the configuration; tells it only if it is."""
        if not self._clients:
            return
        models = self._models()
        if models != self._last_models:
            self._last_models = models
            self._clients.publish(models)

    def profile_changed(self) -> None:
        """Another profile is active."""
        if self._clients:
            self._clients.publish(self._profile())
            self._clients.publish(self._models())

    def ui_changed(self) -> None:
        """Another configuration is in force."""
        if self._clients:
            self._clients.publish(frame("uiConfig", self._picture.ui()))

    def recorded(self, row_id: int) -> None:
        """A row of the activity is complete."""
        if self._clients:
            self._clients.publish(frame("activity", {"id": row_id}))

    def close(self) -> None:
        """End all streams, present and future."""
        self._clients.close()

    # -- who listens ----------------------------------------------------------

    def listen(self) -> Listener:
        """A new client, with the whole picture in front; nothing is missed or told twice after it."""
        if not self._sources:
            logs = (self._hub.forward(source, partial(self._logged, source)) for source in (PROXY, UPSTREAM))
            self._sources = [self._inflight.subscribe(self._inflight_changed), *logs]
        # Or the others would never be told what this one is shown first, and this one would be told lines twice.
        self.models_changed()
        self._tell_lines()
        self._last_models = self._models()
        logs_so_far = [_log_frame(source, self._hub.history(source)) for source in (PROXY, UPSTREAM)]
        first = [*logs_so_far, *self._state(self._last_models)]
        return self._clients.listen(b"".join(first), catch_up=self._whole_state)

    def left(self) -> None:
        """A client is gone; with the last one nobody needs to be told any more."""
        if not self._clients:
            for stop in self._sources:
                stop()
            self._sources = []

    def _logged(self, source: str, line: bytes) -> None:
        """Lines written in one pass of the event loop are one frame, encoded once for all clients."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._tell_lines)
        self._lines.setdefault(source, bytearray()).extend(line)

    def _tell_lines(self) -> None:
        lines, self._lines = self._lines, {}
        for source, text in lines.items():
            self._clients.publish(_log_frame(source, text))

    def _inflight_changed(self, change: Mapping[str, Any]) -> None:
        self._clients.publish(frame("inflight", change))

    def _whole_state(self, _dropped: int) -> bytes:
        return b"".join(self._state(self._models()))

    def _state(self, models: bytes) -> list[bytes]:
        ui = frame("uiConfig", self._picture.ui())
        return [models, ui, self._profile(), frame("inflight", self._inflight.snapshot())]

    def _models(self) -> bytes:
        return frame("modelStatus", self._picture.models())

    def _profile(self) -> bytes:
        return frame("profileChanged", {"active": self._picture.profile()})


def model_rows(
    config: Config,
    snapshot: Snapshot,
    describe: Callable[[str], Mapping[str, Any]],
    peers: Mapping[str, Iterable[str]],
) -> list[dict[str, Any]]:
    """The rows of ``modelStatus``: configured models with their state, then those of peers.

    Args:
        config: in force.
        snapshot: the scheduler's state.
        describe: the entry of a model in ``/v1/models``, for its capabilities and context length.
        peers: peer ID -> full names of its models.
    """
    standings = {view.model: view.standing for view in snapshot.models}
    rows = []
    for model in sorted(config.models.values(), key=lambda model: model.id):
        entry = describe(model.id)
        row: dict[str, Any] = {
            "id": model.id,
            "name": model.name,
            "description": model.description,
            "state": _STATES.get(standings.get(model.id, Standing.STOPPED), "stopped"),
            "unlisted": model.unlisted,
            "peerID": "",
        }
        if model.aliases:
            row["aliases"] = list(model.aliases)
        row |= {key: entry[key] for key in ("capabilities", "context_length") if entry.get(key)}
        rows.append(row)
    return rows + [_peer_row(peer, name) for peer, names in peers.items() for name in names]


def _peer_row(peer: str, name: str) -> dict[str, Any]:
    return {"id": name, "name": "", "description": "", "state": "", "unlisted": False, "peerID": peer}


def _log_frame(source: str, lines: bytes | bytearray) -> bytes:
    # A model may write anything; JSON is UTF-8.
    return frame("logData", {"source": source, "data": lines.decode("utf-8", "replace")})


# -- the handler --------------------------------------------------------------


def routes(feed: EventFeed) -> list[web.RouteDef]:
    """``/api/events``."""
    return [web.get("/api/events", _events_handler(feed))]


def _events_handler(feed: EventFeed) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def events(request: web.Request) -> web.StreamResponse:
        """Everything that happens, until the client leaves or the service ends."""
        response = web.StreamResponse(headers=_HEADERS)
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        try:
            with feed.listen() as listener:
                await response.prepare(request)
                await _write(response, listener)
        finally:
            feed.left()
        return response

    return events


async def _write(response: web.StreamResponse, listener: Listener) -> None:
    """Ends with the listener; a comment now and then keeps proxies from closing a quiet stream."""
    while True:
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                frames = await anext(listener, b"")
        except TimeoutError:
            frames = _KEEP_ALIVE
        if not frames:
            return
        try:
            await response.write(frames)
        except ConnectionResetError:  # the client left; nothing went wrong
            return
