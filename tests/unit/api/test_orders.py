"""The small bodies of control requests."""

import msgspec
import pytest
from aiohttp import web

from llama_swap.api.orders import read_order


class Form(msgspec.Struct, forbid_unknown_fields=True):
    """What the test's route takes."""

    number: int = 3
    word: str = msgspec.field(default="x", name="for")


@pytest.fixture
async def client(mount):
    """A client of a route that answers with what it read."""

    async def handler(request):
        order = await read_order(request, Form)
        return web.json_response([order.number, order.word])

    return await mount([web.post("/", handler)])


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"", [3, "x"]), (b" \n", [3, "x"]), (b"{}", [3, "x"]), (b'{"for":"y","number":1}', [1, "y"])],
)
async def test_body_may_be_left_out(client, body, expected):
    """No body is an order without wishes."""
    assert await (await client.post("/", data=body)).json() == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"nubmer":1}', ["nubmer", "it may have number, for"]),
        (b'{"number":"1"}', ["number"]),
        (b"[]", ["it may have number, for"]),
        (b"{", ["not valid JSON"]),
        (b'{"for":"\xff"}', ["not valid JSON"]),
        (b"[" * 60000, [""]),
    ],
)
async def test_mistake_is_named(client, body, words):
    """Whatever is sent, the answer is 400 and says what is wrong."""
    answer = await client.post("/", data=body)
    assert answer.status == 400
    message = (await answer.json())["error"]["message"]
    assert all(word in message for word in words)


async def test_body_is_small(client):
    """Nobody can make the service hold more for an order."""
    assert (await client.post("/", data=b" " * 70_000)).status == 413
