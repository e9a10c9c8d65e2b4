"""Captures over HTTP."""

import pytest

from llama_swap.activity import Captures, Exchanged
from llama_swap.api import captures


@pytest.fixture
async def client(mount):
    """A client of the routes alone, with one capture."""
    held = Captures(1_000_000)
    held.put(7, Exchanged("/v1/x", (), b"in", 200, (), b"out"))
    return await mount(captures.routes(held))


async def test_a_capture(client):
    """The exchange of a row, kept in no cache."""
    response = await client.get("/api/captures/7")
    assert (await response.json())["resp_body"] == "b3V0"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("row_id", "status", "message"),
    [
        ("77", 404, "capture not found"),
        ("x", 400, "invalid capture ID"),
        ("-1", 400, "invalid capture ID"),
        ("٣", 400, "invalid capture ID"),
    ],
)
async def test_what_is_not_there(client, row_id, status, message):
    """llama-swap's texts."""
    response = await client.get(f"/api/captures/{row_id}")
    assert (response.status, (await response.json())["error"]["message"]) == (status, message)
