"""The status of everything, with the memory behind it."""

import json
from dataclasses import replace

from llama_swap.api import status
from llama_swap.api.memory import account_as_json, seconds_as_json
from llama_swap.scheduler.explain import MemoryAccount
from llama_swap.scheduler.memory import HOST, Need, NeedSource
from llama_swap.scheduler.snapshot import WaiterView, YieldView

from .conftest import GIB, instance, serving


async def answer_of(supervisor):
    """What the route says."""
    async with serving(supervisor, status.routes()) as client:
        return await (await client.get("/api/status")).json()


async def test_without_memory(make_supervisor):
    """Where nothing was measured there are no pools, and everything else is as ever."""
    answer = await answer_of(make_supervisor())
    assert [row["id"] for row in answer["models"]] == ["m", "org/m"]
    assert answer["router"] == "group"
    assert answer["memory"] == {"pools": [], "age_seconds": None, "problem": "", "release_lag_seconds": None}
    assert (answer["yields"], answer["queue"]) == ([], [])
    assert [row["pinned"] for row in answer["models"]] == [False, False]


async def test_memory_of_models_and_pools(supervisor):
    """Each instance has its part of each pool; devices are called by their number."""
    supervisor.shows(
        instances=(instance("m", claims={"GPU-aaaa": 18 * GIB, HOST: GIB}, devices=("GPU-aaaa",)),),
        models=tuple(replace(view, pinned=True) for view in supervisor.picture.models),
        measured_at=88.5,
        memory_problem="the driver does not answer",
        release_lag_seconds=0.7,
        yields=(YieldView("me", ("GPU-bbbb",), 130.0, "a game"),),
        queue=(WaiterView(1, "org/m", 1, 2.0, "m is idle"),),
    )
    answer = await answer_of(supervisor)
    row = answer["models"][0]
    assert [model["pinned"] for model in answer["models"]] == [True, True]
    assert row["devices"] == [{"pool": "GPU-aaaa", "label": "GPU 0"}]
    assert row["memory"] == [
        {"pool": "GPU-aaaa", "label": "GPU 0", "bytes": 18 * GIB},
        {"pool": "host", "label": "host", "bytes": GIB},
    ]
    assert "memory" not in answer["models"][1]
    assert answer["router"] == "fit"
    assert answer["memory"]["problem"] == "the driver does not answer"
    assert answer["memory"]["age_seconds"] == 11.5
    assert supervisor.measured == 1, "nobody is shown figures of some time ago while newer ones are to be had"
    assert answer["memory"]["release_lag_seconds"] == 0.7
    assert answer["memory"]["pools"][0] == {
        "pool": "GPU-aaaa",
        "label": "GPU 0 (RTX 3090)",
        "index": 0,
        "total_bytes": 24 * GIB,
        "free_bytes": 5 * GIB,
        "promised_bytes": 18 * GIB,
        "available_bytes": 4 * GIB,
        "foreign_bytes": GIB,
    }
    assert answer["yields"] == [
        {"holder": "me", "devices": [{"pool": "GPU-bbbb", "label": "GPU 1"}], "seconds_left": 30, "because": "a game"}
    ]
    assert answer["queue"][0]["blocked_by"] == "m is idle"


def test_account(supervisor):
    """The need with its source and parts, and the sums in words."""
    need = Need(NeedSource.ESTIMATED, 3 * GIB, GIB, parts=(("weights", 2 * GIB), ("KV cache", GIB)), load_seconds=4.5)
    account = account_as_json(supervisor.picture, MemoryAccount(need, ("GPU-aaaa",), ("GPU 0: 24 GiB",), fits=True))
    assert json.loads(json.dumps(account)) == {
        "need": {
            "source": "estimated",
            "device_bytes": 3 * GIB,
            "host_bytes": GIB,
            "by_device": {},
            "parts": [{"what": "weights", "bytes": 2 * GIB}, {"what": "KV cache", "bytes": GIB}],
            "load_seconds": 4.5,
            "ahead_seconds": None,
        },
        "devices": [{"pool": "GPU-aaaa", "label": "GPU 0"}],
        "lines": ["GPU 0: 24 GiB"],
        "fits": True,
    }


def test_seconds():
    """Whole ones as llama-swap prints them, for ever as Ollama writes it."""
    assert [seconds_as_json(value) for value in (None, 60.0, 0.5, float("inf"))] == [None, 60, 0.5, -1]
    assert isinstance(seconds_as_json(60.0), int)
