"""The requests in flight over HTTP."""

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from llama_swap.activity import InflightTable
from llama_swap.api import inflight
from llama_swap.api.errors import error_response
from llama_swap.errors import RequestError


@web.middleware
async def _errors(request, handler):
    try:
        return await handler(request)
    except RequestError as error:
        return error_response(error)


async def test_list_and_cancel():
    """A request is listed and can be ended once; an unknown one is 404 with llama-swap's text."""
    table, ended = InflightTable(), []
    request = table.enter(model="m", method="POST", req_path="/x", cancel=lambda: ended.append(True))
    application = web.Application(middlewares=[_errors])
    application.add_routes(inflight.routes(table))
    async with TestClient(TestServer(application)) as client:
        listed = await (await client.get("/api/inflight")).json()
        assert [row["id"] for row in listed["requests"]] == [request.id]
        answer = await client.post(f"/api/inflight/{request.id}/cancel")
        assert (answer.status, await answer.json(), ended) == (200, {"msg": "ok"}, [True])
        table.leave(request)
        answer = await client.post(f"/api/inflight/{request.id}/cancel")
        assert answer.status == 404
        assert (await answer.json())["error"]["message"] == "inflight request not found"
        assert await (await client.get("/api/inflight")).json() == {"requests": []}
