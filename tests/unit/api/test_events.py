"""The stream of events: the beginning, what follows, and clients that leave, lag or stay to the end."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from llama_swap.activity import InflightRequest, InflightTable
from llama_swap.api import events
from llama_swap.api.events import EventFeed, Picture
from llama_swap.config import PortBook, load_config
from llama_swap.logs import LogHub
from llama_swap.scheduler import Scheduler
from llama_swap.scheduler.events import MemoryMeasured, ProcessReady, RequestArrived, RequestGone, UnloadRequested


@dataclass
class Service:
    """What the feed tells about."""

    hub: LogHub = field(default_factory=LogHub)
    inflight: InflightTable = field(default_factory=InflightTable)
    models: list = field(default_factory=lambda: [{"id": "m", "state": "stopped"}])
    profile: str | None = None

    def __post_init__(self):
        """Build the feed."""
        ui = {"activity": {"session_id": ["x-session"]}}
        picture = Picture(models=lambda: self.models, ui=lambda: ui, profile=lambda: self.profile)
        self.feed = EventFeed(self.hub, self.inflight, picture)

    def set_state(self, state):
        """Another state of the model."""
        self.models = [{"id": "m", "state": state}]
        self.feed.models_changed()

    def request(self):
        """A request in flight."""
        request = InflightRequest("m", "POST", "/v1/x", lambda: None)
        self.inflight.enter(request)
        return request


@pytest.fixture
async def service():
    """It."""
    return Service()


@pytest.fixture
async def session(mount, service):
    """A client of the route."""
    return await mount(events.routes(service.feed))


class Stream:
    """A client's view: (type, data) of each event."""

    def __init__(self, response):
        self.response = response
        self._rest = b""
        self._frames = []

    async def next(self, count=1):
        """The next events."""
        while len(self._frames) < count:
            chunk = await asyncio.wait_for(self.response.content.readany(), 5)
            assert chunk, "the stream ended"
            *whole, self._rest = (self._rest + chunk).split(b"\n\n")
            self._frames += [decoded(frame) for frame in whole]
        taken, self._frames = self._frames[:count], self._frames[count:]
        return taken

    async def until(self, kind):
        """The next event of a type, whatever comes before."""
        while True:
            ((found, data),) = await self.next()
            if found == kind:
                return data


def decoded(frame):
    """A frame in llama-swap's form, taken apart."""
    first, second = frame.split(b"\n")
    assert first == b"event:message"
    assert second.startswith(b"data:")
    envelope = json.loads(second[5:])
    assert list(envelope) == ["type", "data"]
    return envelope["type"], json.loads(envelope["data"])


@pytest.fixture
async def stream(session):
    """A client that has read the beginning."""
    async with session.get("/api/events") as response:
        stream = Stream(response)
        await stream.next(6)
        yield stream


async def test_the_beginning(service, session):
    """Both logs, the models, the page's settings, the profile and the requests in flight, in this order."""
    service.hub.write_proxy("own line")
    service.hub.write_upstream("m", b"their \xff line")
    entry = service.request()
    async with session.get("/api/events") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["X-Accel-Buffering"] == "no"
        first = await Stream(response).next(6)
    assert first[:5] == [
        ("logData", {"source": "proxy", "data": "own line\n"}),
        ("logData", {"source": "upstream", "data": "their � line\n"}),
        ("modelStatus", [{"id": "m", "state": "stopped"}]),
        ("uiConfig", {"activity": {"session_id": ["x-session"]}}),
        ("profileChanged", {"active": None}),
    ]
    kind, data = first[5]
    assert (kind, data["operation"], [row["id"] for row in data["requests"]]) == ("inflight", "snapshot", [entry.id])


async def test_an_empty_table_has_no_requests(service, session):
    """The snapshot lacks the key then, as llama-swap's does."""
    async with session.get("/api/events") as response:
        assert (await Stream(response).next(6))[5] == ("inflight", {"operation": "snapshot"})


async def test_states_are_told_when_they_change(service, stream):
    """And only then."""
    service.set_state("starting")
    service.set_state("starting")
    service.set_state("ready")
    assert await stream.next(2) == [
        ("modelStatus", [{"id": "m", "state": "starting"}]),
        ("modelStatus", [{"id": "m", "state": "ready"}]),
    ]
    service.feed.recorded(7)
    assert await stream.next() == [("activity", {"id": 7})]


async def test_the_first_change_after_the_beginning(service, session):
    """A client that came later does not keep another from being told."""
    async with session.get("/api/events") as one:
        first = Stream(one)
        await first.next(6)
        service.models = [{"id": "m", "state": "starting"}]  # changed, not announced yet
        async with session.get("/api/events") as two:
            second = Stream(two)
            await second.next(6)
            service.feed.models_changed()
            assert await first.next() == [("modelStatus", [{"id": "m", "state": "starting"}])]


async def test_requests_in_flight(service, stream):
    """Each step of a request and its end."""
    entry = service.request()
    service.inflight.leave(entry)
    upsert, remove = await stream.next(2)
    assert (upsert[1]["operation"], upsert[1]["request"]["id"]) == ("upsert", entry.id)
    assert remove == ("inflight", {"operation": "remove", "id": entry.id})


async def test_log_lines(service, stream):
    """Live lines with their source; what was written before is not told again."""
    service.hub.write_upstream("m", b"loading")
    assert await stream.until("logData") == {"source": "upstream", "data": "loading\n"}
    service.hub.write_proxy("done")
    assert await stream.until("logData") == {"source": "proxy", "data": "done\n"}


async def test_lines_are_encoded_once_for_all(service, monkeypatch):
    """Those of one pass of the event loop in one frame; a client that comes in between gets none twice."""
    encoded = []
    encode = events.frame
    monkeypatch.setattr(events, "frame", lambda kind, data: encoded.append(kind) or encode(kind, data))
    with service.feed.listen() as one, service.feed.listen() as two:
        for listener in (one, two):
            await anext(listener)
        encoded.clear()
        service.hub.write_proxy("a")
        service.hub.write_proxy("b")
        shown = [await anext(listener) for listener in (one, two)]
        assert encoded == ["logData"]
        assert shown[0] == shown[1] == encode("logData", {"source": "proxy", "data": "a\nb\n"})
        service.hub.write_proxy("c")
        with service.feed.listen() as late:
            first = await anext(late)
            assert first.count(b"logData") == 2
            assert await anext(one) == encode("logData", {"source": "proxy", "data": "c\n"})
            service.hub.write_proxy("d")
            assert await anext(late) == encode("logData", {"source": "proxy", "data": "d\n"})


async def test_profile_and_settings(service, stream):
    """A change of the profile is followed by the models, as it may change what they are."""
    service.profile = "night"
    service.feed.profile_changed()
    service.feed.ui_changed()
    assert [kind for kind, _ in await stream.next(3)] == ["profileChanged", "modelStatus", "uiConfig"]


async def test_nobody_listens(service):
    """Then nothing is described, encoded or subscribed."""
    service.models = None  # would raise when encoded by hand below
    service.feed._picture = None
    service.feed.models_changed()
    service.feed.profile_changed()
    service.feed.ui_changed()
    service.feed.recorded(1)
    assert not service.inflight._listeners


async def test_the_last_client_that_leaves(service, session, ended):
    """Ends the subscriptions, of the table and of the logs."""
    async with session.get("/api/events") as response:
        await Stream(response).next(6)
        assert service.inflight._listeners
    await asyncio.wait_for(ended.wait(), 5)
    assert not service.inflight._listeners
    assert not any(monitor.readers for monitor in service.hub._fixed.values())


async def test_the_end_of_the_service(service, session):
    """Streams end by themselves, with what was pending; so do those that come later."""
    async with session.get("/api/events") as response:
        stream = Stream(response)
        await stream.next(6)
        service.feed.recorded(1)
        service.feed.close()
        assert await stream.next() == [("activity", {"id": 1})]
        assert await response.content.read() == b""
    async with session.get("/api/events") as response:
        assert (await response.content.read()).count(b"\n\n") == 6


async def test_a_quiet_stream_is_kept_open(session, monkeypatch):
    """By a comment, which no client takes for an event."""
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.01)
    async with session.get("/api/events") as response:
        seen = b""
        while b"\n\n:\n\n" not in seen:
            seen += await asyncio.wait_for(response.content.readany(), 5)


async def test_head(session):
    """HEAD answers and ends."""
    async with session.head("/api/events") as response:
        assert response.status == 200


async def test_a_client_that_lags_is_told_the_state_again(service):
    """Events beyond its room are lost; then it gets models, settings, profile and requests as they are now."""
    listener = service.feed.listen()
    each = len(events.frame("activity", {"id": 100_000}))
    room = events.PENDING_BYTES // each
    for number in range(100_000, 100_000 + 2 * room):
        service.feed.recorded(number)
    service.set_state("ready")
    frames = [decoded(frame) for frame in (await anext(listener)).split(b"\n\n")[:-1]]
    kinds = [kind for kind, _ in frames]
    assert kinds[-4:] == ["modelStatus", "uiConfig", "profileChanged", "inflight"]
    assert frames[-4] == ("modelStatus", [{"id": "m", "state": "ready"}])
    assert len(frames) == 6 + room + 4


# -- the rows of modelStatus --------------------------------------------------

CONFIG = """
models:
  z: {cmd: "true", proxy: "http://127.0.0.1:1", unlisted: true}
  m: {cmd: "true", proxy: "http://127.0.0.1:2", name: Em, description: small, aliases: [al]}
"""


@pytest.fixture
def config(tmp_path):
    """Two models."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return load_config([path], env={}, ports=PortBook())


def test_rows_of_models(config):
    """llama-swap's fields, sorted, with peers behind; empty lists are left out."""
    snapshot = Scheduler(config.scheduler).snapshot(now=0)
    entries = {"m": {"capabilities": {"vision": True}, "context_length": 4096}, "z": {"capabilities": {}}}
    assert events.model_rows(config, snapshot, entries.__getitem__, {"other": ["other/x"]}) == [
        {
            "id": "m",
            "name": "Em",
            "description": "small",
            "state": "stopped",
            "unlisted": False,
            "peerID": "",
            "aliases": ["al"],
            "capabilities": {"vision": True},
            "context_length": 4096,
        },
        {"id": "z", "name": "", "description": "", "state": "stopped", "unlisted": True, "peerID": ""},
        {"id": "other/x", "name": "", "description": "", "state": "", "unlisted": False, "peerID": "other"},
    ]


def test_states_in_llama_swap_s_words(config):
    """From stopped to ready and back, as its page knows them."""
    scheduler = Scheduler(config.scheduler)
    scheduler.handle(MemoryMeasured(0, ()), now=0)

    def state():
        snapshot = scheduler.snapshot(now=0)
        return events.model_rows(config, snapshot, lambda _: {}, {})[0]["state"]

    seen = [state()]
    (start,) = scheduler.handle(RequestArrived(1, "m"), now=0)
    seen.append(state())
    scheduler.handle(ProcessReady(start.instance_id), now=0)
    seen.append(state())
    scheduler.handle(RequestGone(1, served=True), now=0)
    scheduler.handle(UnloadRequested("m"), now=0)
    seen.append(state())
    assert seen == ["stopped", "starting", "ready", "stopping"]
