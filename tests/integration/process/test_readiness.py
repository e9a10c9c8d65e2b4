"""From launch to ready: how fast it is noticed, and what must not be mistaken for it."""

import asyncio
import itertools
import statistics
import time

import pytest

from llama_swap.process import NotReady


async def test_ready_when_the_check_endpoint_says_so(start):
    """While the upstream loads it answers 503, and that is not ready."""
    run = await start("--load-seconds", "0.2")
    await run.child.wait_ready()
    assert run.journal("ready")
    assert [probe["ok"] for probe in run.journal("probe")][-2:] == [False, True]


@pytest.mark.parametrize(
    ("flags", "bound"),
    [((), 0.03), (("--quiet",), 0.06), (("--quiet", "--listen-late"), 0.06)],
    ids=["prints", "silent", "late"],
)
async def test_readiness_is_noticed_at_once(start, flags, bound):
    """Who prints when it is ready is noticed within 30 ms (median); the silent ones are asked every 20 ms.

    Measured on an idle machine: 3 to 5 ms and 10 to 15 ms; the bounds leave room for a busy one.
    """
    late = []
    for load_seconds in (0.05, 0.081, 0.113, 0.147, 0.18):
        run = await start("--load-seconds", str(load_seconds), *flags)
        await run.child.wait_ready()
        late.append(time.monotonic() - run.journal("ready")[0]["t"])
        run.child.kill()
    assert statistics.median(late) < bound


async def test_lines_while_loading_cause_probes_but_not_too_many(start):
    """A chatty upstream is asked at most once every 5 ms."""
    run = await start("--load-seconds", "0.3", "--say-every", "0.001")
    await run.child.wait_ready()
    probes = [probe["t"] for probe in run.journal("probe")]
    assert len(probes) > 10
    assert min(b - a for a, b in itertools.pairwise(probes)) > 0.003


async def test_a_probe_that_hangs_is_given_up_and_tried_again(start):
    """An upstream that swallowed a probe while loading is found ready by the next one."""
    run = await start("--load-seconds", "0.4", "--lie-on-health", "hang")
    async with asyncio.timeout(3):
        await run.child.wait_ready()
    assert len(run.journal("probe")) == 2


async def test_a_hanging_probe_does_not_outlast_a_timeout_of_the_caller(start):
    """Waiting can be cancelled at any moment."""
    run = await start("--load-forever", "--lie-on-health", "hang")
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await run.child.wait_ready()
    assert time.monotonic() - began < 0.4


async def test_errors_while_loading_are_not_ready(start):
    """Any status but 200 means: not yet."""
    run = await start("--load-seconds", "0.2", "--lie-on-health", "500")
    await run.child.wait_ready()
    assert run.journal("ready")


async def test_without_a_check_endpoint_it_is_ready_at_once(start):
    """``checkEndpoint: none``: no probe is sent."""
    run = await start("--load-forever", endpoint=None)
    await run.child.wait_ready()
    assert run.journal("probe") == []


async def test_proxy_settings_of_the_environment_do_not_concern_probes(start, monkeypatch):
    """A proxy for the outside world must not be asked about a local port."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    run = await start()
    async with asyncio.timeout(5):
        await run.child.wait_ready()


async def test_a_child_that_has_ended_never_becomes_ready(start):
    """Even when somebody else answers on its port afterwards."""
    run = await start("--crash-at-start", "7")
    report = await run.child.wait_exit()
    assert report.exit_code == 7
    other = await start(port=run.port)
    await other.child.wait_ready()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await run.child.wait_ready()


async def test_a_foreign_listener_on_its_port_is_named(start):
    """Somebody who had the port before would answer in the child's place."""
    first = await start()
    await first.child.wait_ready()
    second = await start(argv=("sleep", "60"), port=first.port)
    with pytest.raises(NotReady, match=rf"port {first.port} is in use .* \(pid {first.child.pid}\)"):
        await second.child.wait_ready()


async def test_a_listener_that_came_after_the_child_is_its_helper(start):
    """A container's port is served by docker-proxy, which the child has started through a daemon."""
    run = await start(argv=("sleep", "60"))
    helper = await start(port=run.port)
    await helper.child.wait_ready()
    async with asyncio.timeout(5):
        await run.child.wait_ready()


async def test_a_listener_below_the_child_is_its_own(start):
    """A wrapper's server is not foreign, in whatever session it runs."""
    run = await start(argv=("sh", "-c", "setsid @fake@ & wait"))
    async with asyncio.timeout(5):
        await run.child.wait_ready()
