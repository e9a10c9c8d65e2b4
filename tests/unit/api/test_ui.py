"""The status page: where it is found, what it may load, and that it asks only for what exists."""

import re

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from llama_swap.api import ui


@pytest.fixture
async def client():
    """A client of a server with the routes of the page."""
    app = web.Application()
    app.add_routes(ui.routes())
    server = TestServer(app)
    await server.start_server()
    async with ClientSession(server.make_url("/")) as session:
        yield session
    await server.close()


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [("/", 302, "/ui/"), ("/ui", 307, "/ui/"), ("/upstream", 302, "/ui/models")],
)
async def test_redirects(client, path, status, location):
    """The ways of llama-swap lead to the page."""
    async with client.get(path, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (status, location)


@pytest.mark.parametrize("path", ["/ui/", "/ui/models", "/ui/models/org/a", "/ui/index.html"])
async def test_places_inside_the_page_are_the_page(client, path):
    """Whatever has no extension is the page itself."""
    async with client.get(path) as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert "<title>llama-swap</title>" in await response.text()


@pytest.mark.parametrize("path", ["/ui/nothing.js", "/ui/assets/x.css", "/ui/..%2Fui.py", "/ui/%2e%2e/errors.py"])
async def test_unknown_files_do_not_exist(client, path):
    """What looks like a file and is none gives 404, also outside the folder."""
    async with client.get(path) as response:
        assert response.status == 404


async def test_everything_the_page_refers_to_exists(client):
    """Scripts, styles and the icon are there with their types, and all are ours."""
    async with client.get("/ui/") as response:
        page = await response.text()
    references = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert {"/ui/app.js", "/ui/style.css", "/ui/favicon.svg"} <= set(references)
    expected = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    for reference in references:
        assert reference.startswith("/")
        if "." in reference:
            async with client.get(reference) as response:
                assert (response.status, response.content_type) == (200, expected[reference.rpartition(".")[2]])


async def test_nothing_inline_and_nothing_foreign(client):
    """The page works under a policy that forbids inline code, other sites and frames."""
    async with client.get("/ui/") as response:
        policy = response.headers["Content-Security-Policy"]
        page = await response.text()
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=|https?://", page)


async def test_an_unchanged_file_is_not_sent_again(client):
    """The browser asks each time, and gets 304 until the service is updated."""
    async with client.get("/ui/app.js") as response:
        tag = response.headers["ETag"]
        assert response.headers["Cache-Control"] == "no-cache"
    async with client.get("/ui/app.js", headers={"If-None-Match": tag}) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with client.get("/ui/app.js", headers={"If-None-Match": '"other"'}) as response:
        assert response.status == 200


async def test_the_icon(client):
    """What browsers ask for on their own exists."""
    async with client.get("/favicon.ico") as response:
        assert (response.status, response.content_type) == (200, "image/svg+xml")
