"""truncation: a client can always tell an answer that lacks its end."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.activity import BodySampler
from llama_swap.proxy.chunks import ChunkedBody
from llama_swap.proxy.exchange import ByteCount, Outcome
from llama_swap.proxy.truncation import missing_of_chunk

OK = b"HTTP/1.1 200 OK\r\n"
SSE = OK + b"Content-Type: text/event-stream\r\n"
CHUNKED_HEAD = b"Transfer-Encoding: chunked\r\n\r\n"
GET_1_0 = b"GET / HTTP/1.0\r\n\r\n"


def dying(*pieces):
    """A script that sends these and closes."""

    async def script(peer):
        for piece in pieces:
            await peer.send(piece)
        peer.writer.close()

    return script


def dechunk(body):
    """The content of a chunked body, and whether its last chunk came."""
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return content, True
        content += body[:length]
        assert body[length : length + 2] == b"\r\n", "broken framing"
        body = body[length + 2 :]
    return content, False


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"9\r\ndata: 1\n\n\r\n",
        b"9\r\ndata: 1\n\n\r\n14\r\ndata: ",
        b"12\r\ndata: 1\n\ndata",
        b"a\r\ndata: 1\n\n\r\n"[:7],
    ],
)
async def test_event_streams_end_with_an_error_event(plane, wire, sent):
    """The last event says what happened, in a chunk of its own, and the last chunk never comes."""
    answer = await plane.ask(wire.get, dying(SSE + CHUNKED_HEAD + sent))
    content, ended = dechunk(answer.partition(b"\r\n\r\n")[2])
    assert not ended
    event = content.rstrip(b"\n").rsplit(b"\n", 1)[1]
    error = json.loads(event.removeprefix(b"data: "))["error"]
    assert "model 'm'" in error["message"]
    assert error["type"] == "server_error"
    assert content.endswith(b"\n\n")
    exchange = await plane.exchange_ended()
    assert exchange.outcome is Outcome.UPSTREAM_DIED
    assert exchange.detail


EVENTS = b"9\r\ndata: 1\n\n\r\n5\r\n0\r\n\r\n\r\n7;e=1\r\n\n\n\n\n\n\n\n\r\n12\r\ndata: 22222222222\n\r\n"


def content_of(sent):
    """The content of a chunked body that was cut anywhere."""
    content = b""
    while b"\r\n" in sent:
        size, _, sent = sent.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        content, sent = content + sent[:length], sent[length + 2 :]
    return content


@pytest.mark.parametrize("cut", range(len(EVENTS)))
async def test_wherever_an_event_stream_is_cut_only_what_came_is_heard(plane, wire, cut):
    """The bytes with which the parser is asked what a chunk lacks are no part of the answer, as a row would have it."""
    plane.heard = BodySampler()
    answer = await plane.ask(wire.get, dying(SSE + CHUNKED_HEAD + EVENTS[:cut]))
    body = answer.partition(b"\r\n\r\n")[2]
    assert body.startswith(EVENTS[:cut])
    assert not body.endswith(b"0\r\n\r\n") or body == EVENTS[:cut]
    assert (await plane.exchange_ended()).outcome is Outcome.UPSTREAM_DIED
    sample = plane.heard.sample(content_type="", content_encoding="", status=200, complete=False)
    assert (sample.head, sample.tail) == (content_of(EVENTS[:cut]), b"")
    assert sample.total_bytes == len(sample.head)
    assert (plane.heard.first_at is not None) == bool(sample.head)


@pytest.mark.parametrize(
    "upstream",
    [
        SSE + CHUNKED_HEAD + b"9\r\ndata: 1\n\n\r\n0\r\nX: y",
        SSE + CHUNKED_HEAD + b"9\r\ndata: 1\n\n\r\n5",
        SSE + b"Content-Encoding: gzip\r\n" + CHUNKED_HEAD + b"3\r\nabc\r\n",
        SSE + b"Content-Length: 50\r\n\r\ndata: 1\n\n",
        OK + CHUNKED_HEAD + b"3\r\nabc\r\n",
        OK + b"Content-Length: 50\r\n\r\nabc",
    ],
)
async def test_other_answers_are_cut(plane, wire, upstream):
    """Where no event can follow, the answer stays short of its length or its last chunk."""
    answer = await plane.ask(wire.get, dying(upstream))
    sent = upstream.partition(b"\r\n\r\n")[2]
    received = answer.partition(b"\r\n\r\n")[2]
    assert received == sent
    assert (await plane.exchange_ended()).outcome is Outcome.UPSTREAM_DIED


async def test_broken_chunks_are_not_passed(plane, wire):
    """What cannot be understood is not sent; the stream ends as if the upstream had died there."""
    good = b"9\r\ndata: 1\n\n\r\n"

    async def script(peer):
        await peer.send(SSE + CHUNKED_HEAD + good)
        await peer.send(b"zz\r\nEVIL\r\n")
        await peer.gone()

    answer = await plane.ask(wire.get, script)
    assert b"EVIL" not in answer
    assert not answer.endswith(b"0\r\n\r\n")


async def test_http_1_0_stream_gets_the_event(plane):
    """Where the end of the connection is the end of the body, the error event is what tells."""
    answer = await plane.ask(GET_1_0, dying(SSE + CHUNKED_HEAD + b"9\r\ndata: 1\n\n\r\n"))
    assert b'data: {"error":' in answer


async def test_http_1_0_body_is_reset(plane):
    """Where nothing but the end of the connection delimits the body, it ends with a reset."""
    answer = await plane.ask(GET_1_0, dying(OK + CHUNKED_HEAD + b"3\r\nabc\r\n"))
    assert answer.endswith(b"<RESET>")


async def test_reset_upstream_without_framing_is_not_a_clean_end(plane, wire):
    """An upstream whose body ends with its connection has died when that connection is reset."""
    sent = asyncio.Event()

    async def script(peer):
        await peer.send(OK + b"\r\nabc")
        await sent.wait()
        peer.writer.transport.get_extra_info("socket").setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER 0: RST
        peer.reset()

    plane.script = script
    reader, writer = await plane.client()
    writer.write(wire.get)
    async with asyncio.timeout(10):
        await reader.readuntil(b"abc\r\n")
        sent.set()
        assert await reader.read() == b""
    assert (await plane.exchange_ended()).outcome is Outcome.UPSTREAM_DIED
    writer.close()


@given(chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=4), data=st.data())
def test_missing_bytes_are_never_miscounted(chunks, data):
    """Wherever a chunked body is cut: if a number is told, that many bytes and a CRLF lead to a chunk boundary."""
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    cut = data.draw(st.integers(0, len(wire)))
    listener = ByteCount()
    body = ChunkedBody(OK + CHUNKED_HEAD, listener.add)
    if cut:
        body.feed(wire[:cut])
        body.last_read = wire[:cut]
    missing = missing_of_chunk(body, listener)
    boundaries, position = {0}, 0
    for chunk in chunks:
        position += len(b"%x\r\n" % len(chunk))
        start, position = position, position + len(chunk) + 2
        boundaries.add(position)
        if start <= cut < start + len(chunk) - 4:
            assert missing == start + len(chunk) - cut
    if cut in boundaries:
        assert missing == 0
