"""Yielding devices over HTTP."""

from dataclasses import replace

import pytest

from llama_swap.api import yielding
from llama_swap.scheduler.snapshot import YieldView
from llama_swap.scheduler.state import Phase

from .conftest import POOLS, instance, serving

GAME = YieldView("gamemode", (), None, "a game runs")
NIGHT = YieldView("cron", ("GPU-bbbb",), 160.5, "")


@pytest.fixture
async def client(supervisor):
    """A client of the routes."""
    async with serving(supervisor, yielding.routes()) as made:
        yield made


async def test_list(client, supervisor):
    """Whose, which, for how long and why."""
    assert await (await client.get("/api/yield")).json() == {"yields": []}
    supervisor.shows(yields=(GAME, NIGHT))
    assert await (await client.get("/api/yield")).json() == {
        "yields": [
            {"holder": "gamemode", "devices": [], "seconds_left": None, "because": "a game runs"},
            {
                "holder": "cron",
                "devices": [{"pool": "GPU-bbbb", "label": "GPU 1"}],
                "seconds_left": 60.5,
                "because": "",
            },
        ]
    }


@pytest.mark.parametrize(
    ("body", "holder", "wishes"),
    [
        (None, "api", {}),
        ({"holder": "me", "because": "a game"}, "me", {"because": "a game"}),
        ({"for": "2h"}, "api", {"seconds": 7200}),
        ({"for": 90}, "api", {"seconds": 90}),
        ({"for": 0.5}, "api", {"seconds": 0.5}),
        ({"gpu": 0}, "api", {"devices": ("0",)}),
        ({"gpu": "1"}, "api", {"devices": ("1",)}),
        ({"gpu": ["GPU-aaaa", 1]}, "api", {"devices": ("GPU-aaaa", "1")}),
        ({"gpu": "GPU-a"}, "api", {"devices": ("GPU-aaaa",)}),
    ],
)
async def test_begin(client, supervisor, body, holder, wishes):
    """What is not said is all devices, until it is ended."""
    answer = await client.post("/api/yield", json=body)
    assert answer.status == 200
    asked = {"devices": (), "seconds": None, "because": "", **wishes}
    assert supervisor.asked == [("request_yield", holder, asked)]


async def test_begin_answers_what_it_means(client, supervisor):
    """The models that leave because of it are told; those that were leaving anyway are not."""
    supervisor.shows(
        instances=(instance("m"), instance("busy", leases=1), instance("old", Phase.STOPPING), instance("cpu"))
    )
    after = (instance("m", Phase.STOPPING), instance("busy", Phase.DRAINING, leases=1))

    def then(snapshot):
        return replace(snapshot, instances=(*after, *snapshot.instances[2:]), yields=(GAME,))

    supervisor.then = then
    answer = await (await client.post("/api/yield", json={"holder": "gamemode"})).json()
    assert [row["holder"] for row in answer.pop("yields")] == ["gamemode"]
    assert answer == {"stopping": ["m"], "draining": ["busy"], "replaced": None}


async def test_begin_tells_what_it_replaces(client, supervisor):
    """Whoever asks again under the same name, perhaps unaware of that, learns what is over by it."""
    supervisor.shows(yields=(GAME, NIGHT))
    for holder, expected in (("cron", 60.5), ("me", None)):
        answer = await (await client.post("/api/yield", json={"holder": holder})).json()
        assert (answer["replaced"] and answer["replaced"]["seconds_left"]) == expected


async def test_a_name_that_means_several_devices(client, supervisor):
    """Which of them is not guessed."""
    one, other = (replace(POOLS[0], pool=pool) for pool in ("GPU-abcd", "GPU-abce"))
    supervisor.shows(pools=(one, replace(other, index=1), POOLS[2]))
    answer = await client.post("/api/yield", json={"gpu": "GPU-abc"})
    assert answer.status == 400
    assert (
        'GPU-abc" is the beginning of several of the devices: there are 0 ('
        in (await answer.json())["error"]["message"]
    )
    assert supervisor.asked == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"for": 0}, "for: "),
        ({"for": -1}, "leave it out"),
        ({"for": "soon"}, '"5m"'),
        ({"for": True}, "for"),
        ({"gpu": 2}, "there are 0 (GPU 0 (RTX 3090), GPU-aaaa), 1 ("),
        ({"gpu": [0, "GPU-zzzz"]}, "GPU-zzzz"),
        ({"gpu": "G"}, "none of the devices"),
        ({"gpu": "GPU-"}, "none of the devices"),
        ({"gpu": []}, "leave it out"),
        ({"gpu": "host"}, "none of the devices"),
        ({"holder": ""}, "holder"),
        ({"holder": "auto:GPU-aaaa"}, "auto:"),
        ({"holder": "a\nb"}, "one line"),
        ({"because": "x" * 300}, "200 characters"),
        ({"until": 3}, "until"),
    ],
)
async def test_mistakes(client, supervisor, body, words):
    """Nothing is yielded by a request that is wrong, and the answer says what would be right."""
    answer = await client.post("/api/yield", json=body)
    assert answer.status == 400
    assert words in (await answer.json())["error"]["message"]
    assert supervisor.asked == []


async def test_device_that_nobody_has_measured_yet(client, supervisor):
    """Right after the start it cannot be known which devices there are, so any may be meant."""
    supervisor.shows(pools=())
    assert (await client.post("/api/yield", json={"gpu": 3})).status == 200
    assert supervisor.asked[0][2]["devices"] == ("3",)


@pytest.mark.parametrize(
    ("query", "holder", "ended"),
    [("", None, ["gamemode", "cron"]), ("?holder=cron", "cron", ["cron"]), ("?holder=nobody", "nobody", [])],
)
async def test_end(client, supervisor, query, holder, ended):
    """One holder's or all; ending what is not there is no error, so that a hook may do it twice."""
    supervisor.shows(yields=(GAME, NIGHT))

    def then(snapshot):
        return replace(snapshot, yields=tuple(view for view in snapshot.yields if view.holder not in ended))

    supervisor.then = then
    answer = await client.delete(f"/api/yield{query}")
    assert answer.status == 200
    answer = await answer.json()
    assert answer["ended"] == ended
    assert len(answer["yields"]) == 2 - len(ended)
    assert supervisor.asked == [("end_yield", holder, {})]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_pages_of_others_may_not(client, supervisor, method):
    """A web page cannot push the models out."""
    answer = await client.request(method, "/api/yield", headers={"Origin": "http://evil.example"})
    assert answer.status == 403
    assert supervisor.asked == []
