"""The logs over HTTP: history, live lines, what ends a stream and what it leaves behind."""

import asyncio

import pytest

from llama_swap.api import logs
from llama_swap.logs import PROXY, UPSTREAM, LogHub

MODELS = ("m", "org/a", "with space")


@pytest.fixture
def hub():
    """The hub behind the server."""
    return LogHub()


@pytest.fixture
async def client(mount, hub):
    """A client of the log routes."""
    return await mount(logs.routes(hub, lambda name: name in MODELS))


async def until(response, mark):
    """What a stream gives up to a mark."""
    seen = b""
    while mark not in seen:
        chunk = await response.content.readany()
        assert chunk, f"the stream ended after {seen!r}"
        seen += chunk
    return seen


async def test_logs_is_the_combined_log(client, hub):
    """/logs gives what is kept, as text, and ends."""
    hub.write_proxy("own")
    hub.write_upstream("m", b"theirs")
    async with client.get("/logs") as response:
        assert response.content_type == "text/plain"
        assert await response.read() == b"own\n"


async def test_a_browser_is_sent_to_the_page(client):
    """/logs asked for as HTML is the status page."""
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with client.get("/logs", headers=browser, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "/ui/")


async def test_a_stream_gives_history_then_live_lines_at_once(client, hub):
    """Kept lines come first; each new line leaves when it is written."""
    hub.write_proxy("old")
    async with client.get("/logs/stream") as response:
        assert await until(response, b"\n") == b"old\n"
        hub.write_proxy("new")
        assert await until(response, b"\n") == b"new\n"


async def test_a_stream_answers_before_there_is_a_line(client):
    """The head of the answer does not wait for the first line, and tells proxies not to hold lines back."""
    async with client.get("/logs/stream/m") as response:
        assert response.status == 200
        assert response.headers["X-Accel-Buffering"] == "no"


async def test_no_history(client, hub):
    """?no-history leaves out what is kept."""
    hub.write_proxy("old")
    async with client.get("/logs/stream?no-history") as response:
        hub.write_proxy("new")
        assert await until(response, b"\n") == b"new\n"


async def test_no_follow(client, hub):
    """?no-follow ends after what is kept."""
    hub.write_upstream("m", b"old")
    async with client.get("/logs/stream/m?no-follow") as response:
        assert await response.read() == b"old\n"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/proxy", b"own\n"),
        ("/upstream", b"from m\nfrom a\n"),
        ("/m", b"from m\n"),
        ("/org/a", b"from a\n"),
        ("/org%2Fa", b"from a\n"),
        ("/with%20space", b""),
    ],
)
async def test_each_log_has_its_stream(client, hub, path, expected):
    """The service, all models, one model; an ID may contain a slash."""
    hub.write_proxy("own")
    hub.write_upstream("m", b"from m")
    hub.write_upstream("org/a", b"from a")
    async with client.get(f"/logs/stream{path}?no-follow") as response:
        assert (response.status, await response.read()) == (200, expected)


async def test_an_unknown_log_is_refused(client):
    """An ID that is no model's gives 400 and says what would do."""
    async with client.get("/logs/stream/nobody") as response:
        assert response.status == 400
        message = (await response.json())["error"]["message"]
        assert message == "invalid logger. Use 'proxy', 'upstream' or a model's ID, not 'nobody'"


async def test_a_client_that_leaves_frees_everything(client, hub, ended):
    """Leaving ends the subscription without another line being written."""
    async with client.get("/logs/stream/m") as response:
        assert response.status == 200
        assert len(hub._models["m"].readers) == 1
    async with asyncio.timeout(5):
        await ended.wait()
    assert not hub._models["m"].readers


async def test_shutdown_ends_streams_cleanly(client, hub, ended):
    """At shutdown a stream ends with its last line and is complete."""
    async with client.get("/logs/stream/upstream") as response:
        hub.write_upstream("m", b"last")
        hub.close()
        assert await response.read() == b"last\n"
    async with asyncio.timeout(5):
        await ended.wait()
    assert not hub._fixed[UPSTREAM].readers


async def test_head_does_not_follow(client, hub):
    """HEAD gives the head and leaves no reader."""
    async with client.head("/logs/stream/proxy") as response:
        assert response.status == 200
    assert not hub._fixed[PROXY].readers
