"""surplus: what an upstream sends after its answer reaches nobody, and what can never be an answer ends at once."""

import asyncio

import pytest

from llama_swap.proxy import relay
from llama_swap.proxy.answer import MAX_HEAD_BYTES, BadAnswerError
from llama_swap.proxy.chunks import blank_surplus
from llama_swap.proxy.early import EarlyStream
from llama_swap.proxy.exchange import Outcome, Outgoing
from llama_swap.proxy.forward import forward
from llama_swap.proxy.heads import HeadReader
from llama_swap.proxy.repeated import RepeatedHead

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
STREAM = OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVIL = OK + b"Content-Length: 4\r\n\r\nEVIL"
NEXT = OK + b"Content-Length: 4\r\n\r\nnext"


async def ask_twice(plane, wire, first, *, version=b"1.1"):
    """Everything one client gets for two requests on one connection; the upstream's first answer is ``first``."""
    turns = [first, NEXT]

    async def script(peer):
        await peer.send(turns.pop(0))

    plane.script = script
    keep = b"GET / HTTP/%b\r\nHost: h\r\nConnection: keep-alive\r\n\r\n" % version
    return await plane.ask(keep + wire.get)


@pytest.mark.parametrize("kept", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("surplus", [EVIL, b"H", b"garbage", b"\r\n" + EVIL, b"\0"])
async def test_a_message_after_a_chunked_one_passes_to_nobody(plane, wire, surplus, kept):
    """The read that holds it is withheld whole, and neither connection serves another request."""
    head = OK + kept + b"Transfer-Encoding: chunked\r\n\r\n"
    answer = await ask_twice(plane, wire, head + b"2\r\nhi\r\n0\r\n\r\n" + surplus)
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b"\r\n\r\n")
    assert b"EVIL" not in answer
    exchange = await plane.exchange_ended()
    assert (exchange.outcome, exchange.detail) == (Outcome.UPSTREAM_DIED, "the upstream sent more than its answer")
    plane.script = wire.answer(NEXT)
    assert (await plane.ask(wire.get)).endswith(b"next")
    assert plane.connections == 2


@pytest.mark.parametrize("blank", [b"\r\n", b"\n", b"\r\n\r\n", b"\r"])
async def test_blank_lines_after_a_chunked_message_are_cut_off(plane, wire, blank):
    """The answer ends where it ends, so the client's connection goes on; the upstream's does not."""
    answer = await ask_twice(plane, wire, CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + blank)
    assert b"2\r\nhi\r\n0\r\n\r\nHTTP/1.1 200 OK" in answer
    assert answer.endswith(b"next")
    assert plane.connections == 2


@pytest.mark.parametrize("trailer", [b"Content-Length: 3\r\n", b"X: y\r\ntransfer-encoding: chunked\r\n"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_trailers_that_frame_are_refused(plane, wire, trailer, version):
    """They could tell another reader of another end."""
    await ask_twice(plane, wire, CHUNKED + b"2\r\nhi\r\n0\r\n" + trailer + b"\r\n", version=version)
    assert (await plane.exchange_ended()).outcome is Outcome.UPSTREAM_DIED


@pytest.mark.parametrize("surplus", [EVIL, b"\r\n"])
async def test_surplus_is_cut_off_for_http_1_0(plane, wire, surplus):
    """An unwrapped body is known exactly: it passes whole and nothing else does."""
    answer = await ask_twice(plane, wire, CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + surplus, version=b"1.0")
    assert answer.endswith(b"\r\n\r\nhi")
    assert (await plane.exchange_ended()).outcome is Outcome.OK
    plane.script = wire.answer(NEXT)
    await plane.ask(wire.get)
    assert plane.connections == 2


@pytest.mark.parametrize("surplus", [EVIL, b"\r\n"])
async def test_surplus_is_cut_off_for_a_stream_that_has_begun(plane, wire, surplus):
    """A stream of ours ends with the upstream's last event."""

    async def handle(request, exchange):
        early = EarlyStream(request, exchange)
        outgoing = Outgoing("GET", "/", request.raw_headers, None, "m", early=early)
        return await forward(request, plane.upstream, outgoing, exchange)

    plane.on_request = handle
    answer = await plane.ask(wire.get, STREAM + b"9\r\ndata: 1\n\n\r\n0\r\n\r\n" + surplus)
    assert answer.endswith(b"\r\n\r\n9\r\ndata: 1\n\n\r\n0\r\n\r\n")
    await plane.ask(wire.get, STREAM + b"0\r\n\r\n")
    assert plane.connections == 2


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        ([b"x", b"0\r\n\r\n"], 0),
        ([b"0", b"\r\n\r\n"], 0),
        ([b"0\r\n", b"\r\n"], 0),
        ([b"0\r\n\r", b"\n"], 0),
        ([b"0\r", b"\n\r\n"], 0),
        ([b"0\r\n", b"\r\n\r\n"], 2),
        ([b"0\r\n\r", b"\n\r\n"], 2),
        ([b"0\r\n\r", b"\n\r\n\n"], 3),
        ([b"x", b"0\r\nA:\r\n\r\n\n"], 1),
        ([b"\r", b"\n\r\n"], None),
    ],
)
def test_blank_surplus(reads, expected):
    """The end of a chunked message is two CRLFs after something else, however it was cut into reads."""
    assert blank_surplus(*reads) == expected


def feed(*reads):
    """What a head reader makes of these reads."""
    reader = HeadReader("GET", RepeatedHead())
    found = None
    for read in reads:
        found = reader.feed(read)
    return found


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\1\2",
        b"H\r\n",
        b"HTTP/2",
        b"<html>",
        b"\r\nHTTP/1.1",
        OK[:-2] + b"\nContent-Length: 2\n\nhi",
        OK + b"A: b\n",
    ],
)
def test_garbage_is_refused_at_its_first_bytes(garbage):
    """What cannot become a head is not waited for."""
    with pytest.raises(BadAnswerError):
        feed(garbage)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 2\r\nContent-Length: 2",
        b"content-length: 2\r\nContent-Length: 3",
        b"Content-Length: 2, 2",
        b"Content-Length: +2",
        b"Content-Length:",
        b"Content-Length: 9999999999999999999",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: xchunked",
        b"X: a\r\n b",
        b"X : a",
        b": a",
        b"X",
        b"X: a\rb",
        b"X: a\0b",
        b"X: a\x7f",
        b"X: a\x0bb",
        b"X\xc3: a",
    ],
)
def test_heads_that_two_readers_could_understand_differently_are_refused(fields):
    """Two lengths, both framings, folded lines, names that are no tokens, control characters."""
    with pytest.raises(BadAnswerError):
        feed(OK + fields + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (OK + b"Content-Length: 2", True),
        (OK + b"Content-Length: 2\r\nConnection: Keep-Alive", True),
        (OK + b"Content-Length: 2\r\nConnection: keep-alive\r\nconnection: Close", False),
        (OK.replace(b"1.1", b"1.0") + b"Content-Length: 2", False),
        (OK.replace(b"1.1", b"1.0") + b"Content-Length: 2\r\nConnection: keep-alive", True),
    ],
)
def test_whether_a_connection_serves_another_request(head, kept):
    """RFC 9112 §9.3, whatever the case and number of its headers."""
    found, _, _ = feed(head + b"\r\n\r\n")
    assert found.keep_alive is kept


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_heads_in_pieces(size):
    """A good head is found however it is cut, with what follows it."""
    data = b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\n"
    head, _, rest = feed(*(data[start : start + size] for start in range(0, len(data), size)))
    assert (head.status, head.length, rest) == (200, 2, b"")


@pytest.mark.parametrize(
    "reads",
    [
        [OK + b"A: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n"],
        [OK + b"A: " + b"a" * MAX_HEAD_BYTES],
        [b"HTTP/1.1 102 P\r\n\r\n" * (MAX_HEAD_BYTES // 18 + 1)],
        [b"HTTP/1.1 102 P\r\nA: %b\r\n\r\n" % (b"a" * 1000)] * 65,
    ],
    ids=["one read", "no end", "interim in one read", "interim"],
)
def test_the_size_of_heads_is_bounded(reads):
    """In one read, without an end, and all interim heads together."""
    with pytest.raises(BadAnswerError, match="too large"):
        feed(*reads)


@pytest.mark.parametrize("garbage", [b"\0\1\2garbage", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi"])
async def test_garbage_is_a_502_at_once(plane, wire, garbage):
    """Although the upstream keeps its connection open and there is no time-out."""
    answer = await plane.ask(wire.get, garbage)
    assert answer.startswith(b"HTTP/1.1 502")


async def test_a_head_that_never_ends_is_given_up(plane, wire, monkeypatch):
    """Once begun it has a deadline, also where none is configured; an interim head before it has none."""
    monkeypatch.setattr(relay, "HEAD_SECONDS", 0.05)

    async def script(peer):
        await peer.send(b"HTTP/1.1 1")
        await peer.send(b"00 Continue\r\n\r\n")
        await asyncio.sleep(0.15)
        await peer.send(NEXT if b"/patient" in peer.head else OK + b"Conten")

    assert (await plane.ask(wire.get.replace(b"/ ", b"/patient "), script)).endswith(b"next")
    assert b"did not begin to answer in time" in await plane.ask(wire.get)


@pytest.mark.parametrize("reason", [b"O\x01K", b"O\x7fK", b"\x1b[31mOK"])
async def test_control_characters_in_a_reason_are_left_out(plane, wire, reason):
    """They reach neither a client nor its terminal."""
    answer = await plane.ask(wire.get, b"HTTP/1.1 200 %b\r\nContent-Length: 2\r\n\r\nhi" % reason)
    assert answer.startswith((b"HTTP/1.1 200 \r\n", b"HTTP/1.1 502"))
    assert reason not in answer
