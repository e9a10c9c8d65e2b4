"""What is remembered on the two connections of an exchange never shows: each is as if both were new."""

import asyncio
import itertools
import re

import pytest

DATE = re.compile(rb"\r\nDate: [^\r]*")
HEAD_END, BODY_END = b"\r\n\r\n", b"<end>"

# Requests that resemble each other in all that could be confused, and keep their connection.
JSON = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
REQUESTS = [
    JSON,
    JSON.replace(b"2", b"17").replace(b"{}", b"{%b}" % (b" " * 15)),
    JSON.replace(b"2", b"02"),
    JSON.replace(b"Content-Length", b"content-length"),
    JSON.replace(b"/a", b"/a?b"),
    JSON.replace(b"/a", b"/%61"),
    JSON.replace(b"POST", b"PUT"),
    JSON.replace(b"1.1", b"1.0").replace(b"Host", b"Connection: keep-alive\r\nHost"),
    JSON.replace(b"\r\n\r\n", b"\r\nX: Content-Length: 2\r\n\r\n"),
    JSON.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n"),
    JSON.replace(b"\r\n\r\n", b"\r\nConnection: x, content-length\r\nX: 1\r\n\r\n"),
    b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n",
]

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<end>"
ANSWERS = [
    FINE,
    FINE.replace(b"5", b"15").replace(b"<", b"0123456789<"),
    FINE.replace(b"5", b"005"),
    FINE.replace(b": 5", b":5 "),
    FINE.replace(b"Content-Length", b"content-length"),
    FINE.replace(b"OK", b"Content-Length: 4"),
    FINE.replace(b"\r\n\r\n", b"\r\nX: Content-Length: 3\r\n\r\n"),
    FINE.replace(b"\r\n\r\n", b"\r\nDate: x\r\n\r\n"),
    FINE.replace(b"\r\n\r\n", b"\r\nConnection: x\r\nX: 1\r\n\r\n"),
    FINE.replace(b"HTTP", b"HTTP/1.1 100 Continue\r\n\r\nHTTP", 1),
    FINE.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked").replace(b"<end>", b"5\r\n<end>\r\n0\r\n\r\n"),
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
]


async def outcome(plane, streams, request, answer):
    """What the upstream gets for a request, and its client for that answer."""
    if request.startswith(b"HEAD"):
        answer = answer.removesuffix(BODY_END)

    async def script(peer):
        await peer.send(answer)

    plane.script = script
    reader, writer = streams
    writer.write(request)
    async with asyncio.timeout(10):
        told = await reader.readuntil(HEAD_END)
        if answer.endswith(BODY_END):
            told += await reader.readuntil(BODY_END)
        elif b"chunked" in answer:
            told += await reader.readuntil(b"0" + HEAD_END)
    peer = plane.requests[-1]
    return peer.head, peer.body, DATE.sub(b"", told)


def in_pairs(things):
    """Each after each, itself included."""
    return list(itertools.chain.from_iterable(itertools.product(things, repeat=2)))


@pytest.mark.parametrize(
    "turns",
    [[(request, FINE) for request in in_pairs(REQUESTS)], [(JSON, answer) for answer in in_pairs(ANSWERS)]],
    ids=["requests", "answers"],
)
async def test_one_after_another_is_as_alone(make_plane, turns):
    """Whatever came before it on its client's connection, and on that to the upstream."""
    alone = {}
    for turn in set(turns):
        async with make_plane() as plane:
            streams = await plane.client()
            alone[turn] = await outcome(plane, streams, *turn)
            streams[1].close()
    async with make_plane() as plane:
        streams = await plane.client()
        for turn in turns:
            assert await outcome(plane, streams, *turn) == alone[turn], turn
        assert plane.connections == 1
        streams[1].close()
