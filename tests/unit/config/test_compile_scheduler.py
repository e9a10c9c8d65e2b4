"""What the scheduler is told about models, routing and memory."""

import pytest

from llama_swap.scheduler.spec import (
    FitSpec,
    GroupSpec,
    Limits,
    MatrixSpec,
    SchedulerSpec,
    TieBreak,
    WhileYielded,
    YieldSpec,
)

CMD = "cmd: srv --port ${PORT}"


def test_scheduler(load):
    """Models, priorities by ID or alias, groups of both spellings and limits reach the scheduler."""
    groups = "groups: {g: {members: [a], swap: false, exclusive: false, persistent: true}, h: {members: [b]}}"
    fifo = "priority: {al: 10, b: -1}, maxWait: 1m, queueLimit: 7, queueTimeout: 3, "
    fifo += "backoffAfterFailures: 1, backoffFirst: 2, backoffMax: 4m"
    models = f"models: {{a: {{{CMD}, aliases: [al], concurrencyLimit: 3, ttl: 4}}, b: {{{CMD}, concurrencyLimit: -5}}}}"
    routing = f"scheduler: {{use: fifo, settings: {{fifo: {{{fifo}}}}}}}"
    legacy = load(f"{groups}\nrouting: {{{routing}}}\n{models}\n")
    modern = load(f"routing: {{router: {{use: group, settings: {{{groups}}}}}, {routing}}}\n{models}\n")
    assert legacy.scheduler == modern.scheduler
    spec = legacy.scheduler
    assert spec.groups == (GroupSpec("g", ("a",), swap=False, exclusive=False, persistent=True), GroupSpec("h", ("b",)))
    assert spec.limits == Limits(60, 7, 3, 1, 2, 240, fair_share_seconds=0)
    assert {name: (model.priority, model.concurrency_limit) for name, model in spec.models.items()} == {
        "a": (10, 3),
        "b": (-1, 0),
    }
    assert spec.models["a"].fingerprint == legacy.models["a"].fingerprint
    assert spec.models["a"].ttl_seconds == 4


def test_matrix(load):
    """The matrix reaches the scheduler from both spellings, sets in their order, and no group beside it."""
    matrix = "matrix: {vars: {x: a}, sets: {z: x & b, y: +z}, evict_costs: {x: 3}, tieBreak: lru}"
    models = f"models: {{a: {{{CMD}}}, b: {{{CMD}}}}}"
    groups = "groups: {g: {members: [a]}}"
    legacy = load(f"{matrix}\n{models}")
    modern = load(f"routing: {{router: {{use: matrix, settings: {{{matrix}, {groups}}}}}}}\n{models}")
    assert legacy.scheduler == modern.scheduler
    assert legacy.scheduler.matrix == MatrixSpec({"z": "x & b", "y": "+z"}, {"x": "a"}, {"x": 3}, TieBreak.LRU)
    assert list(legacy.scheduler.matrix.sets) == ["z", "y"]
    assert legacy.scheduler.groups == ()
    default = load(f"{models}\nmatrix: {{sets: {{s: a}}}}").scheduler.matrix
    assert default == MatrixSpec({"s": "a"}, tie_break=TieBreak.DEFINITION)


@pytest.mark.parametrize(
    ("keys", "seconds"),
    [("[]", 0), ("[k]", 0), ("[{key: k, name: x}, {key: l, name: x}]", 0), ("[{key: k, name: x}, l]", 9)],
)
def test_shares_are_kept_where_there_are_several_callers(load, keys, seconds):
    """One alone has nobody to be fair to."""
    config = load(
        f"apiKeys: {keys}\nrouting: {{scheduler: {{settings: {{fifo: {{fairShare: 9}}}}}}}}\nmodels: {{a: {{{CMD}}}}}"
    )
    assert config.scheduler.limits.fair_share_seconds == seconds


def test_memory(load):
    """What the scheduler is told about memory, yielding and fairness, and what the service does with requests."""
    config = load(
        """
        keepAlive: {honour: false, max: 2h}
        yield: {freeBelow: 4GiB, drain: 1m, returnAfter: 45, requests: wait}
        routing:
          router:
            use: fit
            settings:
              fit:
                {headroom: 1GiB, hostHeadroom: 0,
                 minResidency: 7, releaseTimeout: 3s, readAhead: false, askLlamaCpp: false}
          scheduler: {settings: {fifo: {fairShare: 9}}}
        apiKeys: [one, two]
        models:
          a: {cmd: "srv ${PORT}", pin: true, evictCost: 2.5}
          b: {cmd: "srv ${PORT} -ngl 0"}
        """
    )
    spec = config.scheduler
    assert spec.fit == FitSpec(
        when_measured=False, headroom_bytes=1 << 30, host_headroom_bytes=0, min_residency_seconds=7, read_ahead=False
    )
    assert spec.yielding == YieldSpec(4 << 30, 60, 45, WhileYielded.WAIT)
    assert (spec.release_timeout_seconds, spec.limits.fair_share_seconds) == (3, 9)
    assert [(each.pin, each.evict_cost, each.devices) for each in spec.models.values()] == [
        (True, 2.5, None),
        (False, None, ()),
    ]
    assert (config.keep_alive_honoured, config.keep_alive_max_seconds, config.ask_llama_cpp) == (False, 7200, False)


def test_memory_by_default(load):
    """Defaults are those of the scheduler."""
    config = load("models: {a: {cmd: 'srv ${PORT}'}}")
    assert config.scheduler.fit == FitSpec(when_measured=True)
    assert config.scheduler.yielding == YieldSpec()
    assert config.scheduler.limits == Limits(fair_share_seconds=0)
    assert config.scheduler.release_timeout_seconds == SchedulerSpec().release_timeout_seconds
    assert (config.keep_alive_honoured, config.keep_alive_max_seconds, config.ask_llama_cpp) == (True, 0, True)


def test_memory_restarts_nothing(load):
    """No key about memory is a reason to start a process anew."""
    model = "models: {a: {cmd: 'srv ${PORT}'%s}}"
    before = load(model % "").models["a"]
    after = load("routing: {router: {use: fit}}\n" + model % ", vram: 8GiB, ram: 1GiB, pin: true, evictCost: 3")
    assert after.models["a"].fingerprint == before.fingerprint
    assert after.models["a"] != before


@pytest.mark.parametrize("cost", ["-1", '"5"', "true", ".inf", "[1]", "x"])
def test_costs_that_are_none(refused, cost):
    """A cost is a number from 0 on."""
    assert set(refused(f"models: {{a: {{cmd: 'srv ${{PORT}}', evictCost: {cost}}}}}")) == {"models.a.evictCost"}
