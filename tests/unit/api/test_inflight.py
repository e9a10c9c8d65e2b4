"""The requests in flight over HTTP."""

from llama_swap.activity import InflightRequest, InflightTable
from llama_swap.api import inflight


async def test_list_and_cancel(mount):
    """A request is listed and can be ended once; an unknown one is 404 with llama-swap's text."""
    table, ended = InflightTable(), []
    request = InflightRequest("m", "POST", "/x", lambda: ended.append(True))
    table.enter(request)
    client = await mount(inflight.routes(table))
    listed = await (await client.get("/api/inflight")).json()
    assert [row["id"] for row in listed["requests"]] == [request.id]
    answer = await client.post(f"/api/inflight/{request.id}/cancel")
    assert (answer.status, await answer.json(), ended) == (200, {"msg": "ok"}, [True])
    table.leave(request)
    answer = await client.post(f"/api/inflight/{request.id}/cancel")
    assert answer.status == 404
    assert (await answer.json())["error"]["message"] == "inflight request not found"
    assert await (await client.get("/api/inflight")).json() == {"requests": []}
