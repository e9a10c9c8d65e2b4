"""request_head: which requests have the head of the one before."""

import asyncio

import pytest
from aiohttp import HttpVersion10, web
from aiohttp.test_utils import make_mocked_request

from llama_swap.proxy.request_head import RequestHead, objection

HOST = ("Host", "h")
LENGTH = ("Content-Length", "5")
KEY = ("Authorization", "Bearer k")
HEAD = [HOST, LENGTH, KEY]


def request(headers=HEAD, *, method="POST", path="/v1?x=1", **options):
    """A request with this head."""
    return make_mocked_request(method, path, headers, **options)


@pytest.mark.parametrize("headers", [[HOST, LENGTH, KEY], [LENGTH, HOST, KEY], [HOST, KEY, LENGTH], [HOST, KEY]])
def test_a_head_is_repeated(headers):
    """By the same fields in the same order; the length of the body may be another one."""
    head = RequestHead(request(headers))
    assert head.is_repeated_by(request(headers))
    longer = [(name, "5000" if value == "5" else value) for name, value in headers]
    assert head.is_repeated_by(request(longer))


@pytest.mark.parametrize("length", [[], [LENGTH]])
@pytest.mark.parametrize(
    "other",
    [
        [HOST],
        [],
        [HOST, KEY, ("X", "y")],
        [("X", "y"), HOST, KEY],
        [HOST, ("Transfer-Encoding", "chunked"), KEY],
        [HOST, KEY, ("Transfer-Encoding", "chunked")],
        [HOST, ("Content-Length", "5"), KEY, ("Content-Length", "5")],
        [HOST, ("Content-Length", "1" * 21), KEY],
        [HOST, ("content-length", "5"), KEY],
        [HOST, ("Authorization", "Bearer K")],
        [HOST, ("authorization", "Bearer k")],
        [HOST, ("", ""), KEY],
        [KEY, HOST],
    ],
)
def test_another_head_is_none(length, other):
    """Whatever else differs, also in the place of the length, makes a head of its own."""
    assert not RequestHead(request([HOST, *length, KEY])).is_repeated_by(request(other))


@pytest.mark.parametrize(
    "other", [request(method="PUT"), request(path="/v1?x=2"), request(version=HttpVersion10)], ids=str
)
def test_another_line_is_another_head(other):
    """So does the first line."""
    assert not RequestHead(request()).is_repeated_by(other)


def test_what_follows_from_a_head():
    """Whether it is the last one, and whether leave to send a body may be waited for."""
    plain, last = RequestHead(request()), RequestHead(request([*HEAD, ("Upgrade", "h2c"), ("Expect", "100-continue")]))
    assert (plain.is_last, plain.expects, plain.notes, plain.sent) == (False, False, None, None)
    assert (last.is_last, last.expects) == (True, True)


def test_objections_are_to_heads():
    """The head that is remembered has passed."""
    assert objection(request()) is None
    assert objection(request([HOST, HOST])) == (400, "a request has one Host header (only HTTP/1.0 can do without)")


async def test_a_connection_keeps_the_head(plane):
    """The same object, with its notes, while the client repeats it; another one after another head."""
    heads = []

    async def handle(request, _exchange):
        heads.append((request.protocol.head, request.protocol.head.notes))
        request.protocol.head.notes = len(heads)
        return web.Response(text=(await request.text()))

    plane.on_request = handle
    reader, writer = await plane.client()
    async with asyncio.timeout(10):
        for path, body in [(b"a", b"<1>"), (b"a", b"<%050d>" % 2), (b"a", b"<3>"), (b"b", b"<4>"), (b"a", b"<5>")]:
            writer.write(b"POST /%b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (path, len(body), body))
            await reader.readuntil(body)
    writer.close()
    assert [notes for _, notes in heads] == [None, 1, 2, None, None]
    assert heads[0][0] is heads[1][0] is heads[2][0]
    assert len({id(head) for head, _ in heads}) == 3


async def test_a_repeated_head_is_looked_at_again_where_it_differs(plane):
    """What stands where the length stood is no length: no framing passes unseen after a head that was admitted."""
    reader, writer = await plane.client()

    async def handle(_request, _exchange):
        return web.Response(text="fine")

    plane.on_request = handle
    async with asyncio.timeout(10):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na")
        await reader.readuntil(b"fine")
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


def test_a_long_head_is_not_kept():
    """An idle connection must not hold megabytes for the case that they come again."""
    short, long = [*HEAD, ("Cookie", "c" * 15_000)], [*HEAD, ("Cookie", "c" * 17_000)]
    assert RequestHead(request(short)).is_repeated_by(request(short))
    assert not RequestHead(request(long)).is_repeated_by(request(long))
