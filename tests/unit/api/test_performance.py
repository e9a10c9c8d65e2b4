"""The samples and the description of the machine over HTTP."""

from dataclasses import replace

import pytest

from llama_swap.api import performance
from llama_swap.metrics import HostSample, PerformanceRing

SAMPLE = HostSample(1_800_000_000.0, (1.0,), 10, 5, 5, 0, 0, (0.0, 0.0, 0.0), ())


@pytest.fixture
def ring():
    """Two samples."""
    ring = PerformanceRing(5.0)
    ring.add(SAMPLE, [])
    ring.add(replace(SAMPLE, at=SAMPLE.at + 5), [])
    return ring


@pytest.fixture
async def client(mount, ring):
    """A service with these."""

    async def hardware():
        return {"schema_version": 1}

    return await mount(performance.routes(ring, hardware))


async def get(client, path):
    """Status and JSON."""
    async with client.get(path) as response:
        return response.status, await response.json()


async def test_all_samples(client):
    """Without a question for less."""
    status, found = await get(client, "/api/performance")
    assert (status, found["enabled"], len(found["sys_stats"])) == (200, True, 2)


@pytest.mark.parametrize(
    ("after", "count"),
    [
        ("2027-01-15T08:00:00Z", 1),
        ("2027-01-15t08:00:00.000000z", 1),
        ("2027-01-15T07:59:59.999999999Z", 2),
        ("2027-01-15T09:00:00%2B01:00", 1),
        ("2027-01-15T09:00:00+01:00", 1),
        ("2027-01-15T08:00:05Z", 0),
        ("", 2),
    ],
)
async def test_samples_after_a_moment(client, after, count):
    """RFC 3339 with any zone; later, not at the same time."""
    status, found = await get(client, f"/api/performance?after={after}")
    assert (status, len(found["sys_stats"])) == (200, count)


@pytest.mark.parametrize("after", ["yesterday", "2027-01-15", "2027-01-15T08:00:00", "2027-02-31T08:00:00Z"])
async def test_a_moment_that_is_none(client, after):
    """Said as llama-swap says it."""
    status, said = await get(client, f"/api/performance?after={after}")
    assert (status, said["error"]["message"]) == (400, "invalid 'after' timestamp, use RFC3339 format")


async def test_disabled(client, ring):
    """503 whatever was asked for."""
    ring.configure(None)
    assert await get(client, "/api/performance?after=nonsense") == (503, {"enabled": False})


async def test_hardware(client):
    """The description as it is."""
    assert await get(client, "/api/hardware") == (200, {"schema_version": 1})
