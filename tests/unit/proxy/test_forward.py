"""forward: one request to one upstream and back, byte for byte."""

import asyncio

import pytest

from llama_swap.proxy.exchange import Outcome

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SSE = OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
NAMED = b"model 'm'"


def split(answer):
    """Head and body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def chunk(data):
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_request_reaches_the_upstream_as_sent(plane, wire):
    """Method, target and body are the client's; the Host is kept and the address appended."""
    body = b'{"model":"m","x":1.0}'
    answer = await plane.ask(
        wire.post(body, b"X-Forwarded-For: 10.0.0.1\r\nX-Odd:  a  b\r\n", b"/v1/x%2Fy?q=%20&r=+"),
        OK + b"Content-Length: 2\r\nX-Up: 1.0\r\n\r\nhi",
    )
    peer = plane.requests[0]
    assert peer.head.startswith(b"POST /v1/x%2Fy?q=%20&r=+ HTTP/1.1\r\n")
    assert peer.body == body
    sent = dict(peer.headers)
    assert (sent["host"], sent["x-forwarded-for"], sent["x-odd"]) == ("h", "10.0.0.1, 127.0.0.1", "a  b")
    assert "connection" not in sent
    head, received = split(answer)
    assert (head.split(b"\r\n")[0], received) == (b"HTTP/1.1 200 OK", b"hi")
    assert b"X-Up: 1.0" in head


async def test_hop_by_hop_headers_stop_on_both_sides(plane, wire):
    """Neither the fixed names nor those that Connection lists travel on, and Keep-Alive of llama-server neither."""
    hop = b"Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: x\r\nX-Mine: 1\r\nX-Kept: 2\r\n"
    request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close, x-mine, host\r\n" + hop + b"\r\n"
    answer = await plane.ask(request, OK + b"Connection: X-Mine\r\nContent-Length: 0\r\n" + hop + b"\r\n")
    names = {name for name, _ in plane.requests[0].headers}
    assert names == {"host", "x-kept", "x-forwarded-for"}
    head, _ = split(answer)
    lines = head.lower().split(b"\r\n")
    assert b"x-kept: 2" in lines
    assert b"connection: close" in lines
    assert not [line for line in lines if line.startswith((b"keep-alive", b"te:", b"proxy", b"x-mine"))]


async def test_credentials_are_dropped_where_told(plane, wire):
    """The names in drop_headers never reach the upstream, whatever their case."""
    plane.outgoing = {"drop_headers": frozenset({"authorization", "x-api-key"})}
    await plane.ask(wire.post(b"{}", b"AUTHORIZATION: Bearer k\r\nX-Api-Key: k\r\n"), OK + b"Content-Length: 0\r\n\r\n")
    assert not {"authorization", "x-api-key"} & {name for name, _ in plane.requests[0].headers}


async def test_chunks_pass_raw_and_at_once(plane):
    """Each chunk of the upstream arrives before it sends the next one, with its own framing and trailers."""
    step = asyncio.Event()
    chunks = [b"0009;ext=1\r\ndata: 1\n\n\r\n", b"9\r\ndata: \xff\n\n\r\n", b"0\r\nX-Trailer: 1\r\n\r\n"]

    async def script(peer):
        await peer.send(SSE)
        for sent in chunks:
            await step.wait()
            step.clear()
            await peer.send(sent)

    plane.script = script
    reader, writer = await plane.client()
    async with asyncio.timeout(10):
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        for sent in chunks:
            step.set()
            assert await reader.readexactly(len(sent)) == sent
    assert b"X-Accel-Buffering: no" in head
    exchange = await plane.exchange_ended()
    assert exchange.outcome is Outcome.OK
    assert b"".join(plane.heard.pieces) == b"data: 1\n\ndata: \xff\n\n"
    writer.close()


@pytest.mark.parametrize(
    ("request_line", "upstream", "body"),
    [
        (b"GET / HTTP/1.1", OK + b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (b"GET / HTTP/1.1", OK + b"Content-Length: 0\r\n\r\n", b""),
        (b"GET / HTTP/1.1", CHUNKED + chunk(b"abc") + b"0\r\n\r\n", chunk(b"abc") + b"0\r\n\r\n"),
        (b"GET / HTTP/1.1", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"GET / HTTP/1.1", b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", b""),
        (b"GET / HTTP/1.1", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", b""),
        (b"HEAD / HTTP/1.1", OK + b"Content-Length: 7\r\n\r\n", b""),
        (b"HEAD / HTTP/1.1", CHUNKED, b""),
        (b"GET / HTTP/1.1", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", b"a"),
        (b"GET / HTTP/1.1", b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", b"a"),
        (b"GET / HTTP/1.1", OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", b"\x1f\x8b"),
    ],
)
async def test_client_connection_stays_correct_after(plane, wire, request_line, upstream, body):
    """After each kind of answer the same two connections carry the next request."""
    turns = [upstream, OK + b"Content-Length: 4\r\n\r\nnext"]

    async def script(peer):
        await peer.send(turns.pop(0))

    plane.script = script
    request = request_line + b"\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    answer = await plane.ask(request)
    head, rest = split(answer)
    assert rest.startswith(body + b"HTTP/1.1 200 OK\r\n")
    assert rest.endswith(b"\r\n\r\nnext")
    assert b"onnection" not in head
    assert plane.connections == 1


async def test_body_that_ends_with_its_connection_is_chunked(plane, wire):
    """An answer without length gets a framing that lets the client see its end, and the connection goes on."""

    async def script(peer):
        await peer.send(OK + b"\r\nab")
        peer.writer.close()

    plane.script = script
    request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    head, body = split(await plane.ask(request + wire.get))
    assert b"Transfer-Encoding: chunked" in head
    assert body.startswith(chunk(b"ab") + b"0\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize("close", [False, True])
async def test_http_1_0_clients_get_no_chunks(plane, close):
    """A client of HTTP/1.0 gets the plain bytes and the end of the connection as the end of the body."""

    async def script(peer):
        if close:
            await peer.send(OK + b"\r\nabcd")
            peer.writer.close()
        else:
            await peer.send(CHUNKED + chunk(b"ab") + chunk(b"cd") + b"0\r\n\r\n")

    head, body = split(await plane.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", script))
    assert body == b"abcd"
    assert b"chunked" not in head
    assert b"Connection: close" in head


async def test_http_1_0_client_keeps_its_connection_for_bodies_with_a_length(plane, wire):
    """Keep-alive of HTTP/1.0 works where the length is known."""
    request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n"
    answer = await plane.ask(request, OK + b"Content-Length: 1\r\n\r\na")
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.count(b"Connection: keep-alive") == 1


async def test_expect_100_continue_is_answered_by_the_front(plane):
    """The client is told to go on, and the upstream sees no Expect."""
    plane.script = None

    async def script(peer):
        await peer.send(OK + b"Content-Length: 0\r\n\r\n")

    plane.script = script
    reader, writer = await plane.client()
    async with asyncio.timeout(10):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
    assert "expect" not in dict(plane.requests[0].headers)
    writer.close()


AMBIGUOUS = [
    OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    OK + b"Content-Length: 1, 1\r\n\r\na",
    OK + b"Content-Length: +1\r\n\r\na",
    OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\nx",  # llhttp takes it for another coding
    OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
    b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    OK + b"X\x00: a\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"HTTP/1.1 010 Early\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    OK + b"X: " + b"a" * 70_000,
]


@pytest.mark.parametrize("upstream", AMBIGUOUS, ids=range(len(AMBIGUOUS)))
async def test_ambiguous_heads_are_refused(plane, wire, upstream):
    """A head that two readers could understand differently is a 502 that names the model; the connection is dropped."""
    answer = await plane.ask(wire.get, upstream)
    assert answer.startswith(b"HTTP/1.1 502")
    assert NAMED in answer
    assert (await plane.exchange_ended()).outcome is Outcome.UPSTREAM_FAILED
    plane.script = wire.answer(OK + b"Content-Length: 0\r\n\r\n")
    assert (await plane.ask(wire.get)).startswith(b"HTTP/1.1 200")
    assert plane.connections == 2


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 20\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nHost: g\r\nConnection: close\r\n\r\n",
        b"GET http://other/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ],
)
async def test_smuggled_requests_reach_no_upstream(plane, wire, request_bytes):
    """A request that can be read in two ways is refused and its connection closed; nothing is forwarded."""
    answer = await plane.ask(request_bytes, OK + b"Content-Length: 0\r\n\r\n")
    assert answer.count(b"HTTP/1.") <= 1
    assert not answer.startswith(b"HTTP/1.1 2")
    assert plane.requests == []


async def test_bytes_after_the_answer_are_not_forwarded(plane, wire):
    """What follows an answer belongs to nobody: the client gets its answer, the connection serves nobody else."""
    await plane.ask(wire.get, OK + b"Content-Length: 1\r\n\r\naHTTP/1.1 200 EVIL\r\nContent-Length: 0\r\n\r\n")
    answer = await plane.ask(wire.get, OK + b"Content-Length: 1\r\n\r\nb")
    assert b"EVIL" not in answer
    assert split(answer)[1] == b"b"
    assert plane.connections == 2


async def test_connection_that_closes_says_so_and_is_not_reused(plane, wire):
    """An upstream that answers `Connection: close` is believed."""
    for _ in range(2):
        await plane.ask(wire.get, OK + b"Content-Length: 1\r\nConnection: close\r\n\r\na")
    assert plane.connections == 2


async def test_connections_are_reused(plane, wire):
    """A keep-alive connection serves the next request, after a body with a length and after a chunked one."""
    for upstream in (OK + b"Content-Length: 1\r\n\r\na", CHUNKED + b"0\r\nX: y\r\n\r\n", CHUNKED + b"0\r\n\r\n") * 2:
        assert b"X: y" not in split(await plane.ask(wire.get, upstream))[0]
    assert plane.connections == 1
