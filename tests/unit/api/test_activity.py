"""Rows and statistics over HTTP."""

import sqlite3

import pytest

from llama_swap.activity import Captures, Exchanged, Limits, Outcome, Row, Store, Usage
from llama_swap.api import activity


@pytest.fixture
async def store():
    """With four rows of two models."""
    opened = await Store.open(None, Limits())
    for number in range(1, 5):
        opened.add(
            Row(
                timestamp=1_767_225_600 + number,
                model="ab"[number % 2],
                req_path="/v1/chat/completions",
                resp_status_code=200,
                duration_ms=number,
                outcome=Outcome.OK,
                tokens=Usage(number, number, -1, -1, -1, number * 10, -1),
            )
        )
    yield opened
    await opened.close()


@pytest.fixture
def captures():
    """With the request of row 2."""
    held = Captures(1_000_000)
    held.put(2, Exchanged("/", (), b"", 200, (), b""))
    return held


@pytest.fixture
async def client(mount, store, captures):
    """A client of the routes alone."""
    return await mount(activity.routes(store, captures))


async def _page(client, query=""):
    response = await client.get(f"/api/metrics/activity{query}")
    assert (response.status, response.content_type) == (200, "application/json")
    return await response.json()


async def test_a_page(client):
    """The newest rows first, with totals, and which captures can be had."""
    page = await _page(client)
    assert [row["id"] for row in page["data"]] == [4, 3, 2, 1]
    assert {key: page[key] for key in ("page", "limit", "total", "total_pages")} == {
        "page": 1,
        "limit": 25,
        "total": 4,
        "total_pages": 1,
    }
    assert [row["has_capture"] for row in page["data"]] == [False, False, True, False]
    assert page["data"][0]["timestamp"] == "2026-01-01T00:00:04.000Z"


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("?limit=3&page=2", [1]),
        ("?limit=1&page=9", []),
        ("?model=a", [4, 2]),
        ("?model=a&model=b&model=%20", [4, 3, 2, 1]),
        ("?model=x", []),
        ("?min_id=2&max_id=3", [3, 2]),
        ("?sort=duration&order=ASC", [1, 2, 3, 4]),
        ("?sort=&order=&limit=&page=&start=", [4, 3, 2, 1]),
        ("?start=2026-01-01T00:00:02Z&end=2026-01-01T00:00:03.5Z", [3, 2]),
        ("?start=2026-01-01T02:00:03%2B02:00", [4, 3]),
        ("?start=2026-01-01t02:00:03+02:00", [4, 3]),
        ("?limit=%2B2", [4, 3]),
    ],
)
async def test_paging_filters_and_order(client, query, ids):
    """llama-swap's parameters; empty ones count as absent."""
    assert [row["id"] for row in (await _page(client, query))["data"]] == ids


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit must be between 1 and 999"),
        ("limit=1000", "limit must be between 1 and 999"),
        ("limit=1_0", "invalid limit"),
        ("limit=99999999999999999999", "invalid limit"),
        ("page=0", "page must be >= 1"),
        ("page=x", "page must be >= 1"),
        ("sort=nothing", "invalid sort column"),
        ("sort=id;drop", "invalid sort column"),
        ("order=up", "order must be asc or desc"),
        ("start=yesterday", "invalid 'start' timestamp, use RFC3339 format"),
        ("end=2026-02-31T00:00:00Z", "invalid 'end' timestamp, use RFC3339 format"),
        ("start=2026-01-01", "invalid 'start' timestamp, use RFC3339 format"),
        ("start=2026-01-01T00:00:00", "invalid 'start' timestamp, use RFC3339 format"),
        ("start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z", "start must be before end"),
        ("min_id=5&max_id=4", "min_id must be <= max_id"),
        ("min_id=0", "min_id must be >= 1"),
        ("max_id=-1", "max_id must be >= 1"),
    ],
)
async def test_bad_parameters(client, query, message):
    """Each has llama-swap's text."""
    response = await client.get(f"/api/metrics/activity?{query}")
    assert (response.status, (await response.json())["error"]["message"]) == (400, message)


async def test_stats(client):
    """Totals and histograms under llama-swap's names; null without data."""
    stats = await (await client.get("/api/metrics/stats?model=b")).json()
    assert stats == {
        "total_requests": 2,
        "total_input_tokens": 4,
        "total_output_tokens": 4,
        "total_cache_tokens": 0,
        "prompt_histogram": {
            "bins": [1, 0, 0, 0, 1],
            "min": 10,
            "max": 30,
            "binSize": 4,
            "p50": 20,
            "p95": 29,
            "p99": 29.8,
        },
        "gen_histogram": None,
    }
    assert (await (await client.get("/api/metrics/stats")).json())["total_requests"] == 4


async def test_an_unreadable_store_is_an_error_of_ours(client, store, monkeypatch):
    """The client learns why."""

    async def fail(*_arguments):
        raise sqlite3.DatabaseError("disk image is malformed")

    monkeypatch.setattr(store, "page", fail)
    monkeypatch.setattr(store, "stats", fail)
    for path in ("/api/metrics/activity", "/api/metrics/stats"):
        response = await client.get(path)
        assert response.status == 500
        assert "disk image is malformed" in (await response.json())["error"]["message"]
