"""sent_head: what is kept with a client's head never changes what its upstream is sent."""

from dataclasses import dataclass
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from llama_swap.errors import RequestError
from llama_swap.proxy import sent_head
from llama_swap.proxy.exchange import Outgoing
from llama_swap.proxy.sent_head import request_head


@dataclass
class Source:
    """A body that streams."""

    length_bytes: int | None


HEADERS = (
    (b"Host", b"h"),
    (b"Content-Length", b"7"),
    (b"X", b"Content-Length: 7"),
    (b"Authorization", b"k"),
    (b"Accept-Encoding", b"br, gzip"),
)
UPSTREAMS = [SimpleNamespace(authority=authority, prefix=prefix) for authority in ("a", "b") for prefix in ("", "/p")]
OPTIONS = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["POST", "PUT"]),
        "target": st.sampled_from(["/v1", "/v2", "/v 3"]),
        "body": st.sampled_from([b"", b"{}", b"x" * 700, None, *map(Source, (9, None))]),
        "drop_headers": st.sampled_from([frozenset(), frozenset({"authorization"})]),
        "readable": st.booleans(),
        "hides_client": st.booleans(),
    }
)
HOPS = st.sampled_from([(), ((b"Connection", b"close"),)])
TURNS = st.tuples(st.sampled_from(UPSTREAMS), OPTIONS, HOPS)


def request(seen, headers=HEADERS):
    """A request of a client's connection, with what is kept of its head."""
    return SimpleNamespace(protocol=SimpleNamespace(head=seen), raw_headers=headers, remote="1.2.3.4")


def written(seen, upstream, options, hop, headers=HEADERS):
    """The head for the upstream; None where the request is refused."""
    outgoing = Outgoing(headers=headers, model="m", **options)
    try:
        return request_head(request(seen), upstream, outgoing, hop)
    except RequestError:
        return None


@given(turns=st.lists(TURNS, min_size=2, max_size=4))
def test_what_is_kept_changes_nothing(turns):
    """Whatever differs between the requests that begin with one head, each is written as if it were the first one."""
    seen = SimpleNamespace(sent=None)
    for turn in turns:
        assert written(seen, *turn) == written(None, *turn)


def test_other_headers_are_not_those_of_the_client():
    """What somebody has changed is written anew, and not kept."""
    seen, options = SimpleNamespace(sent=None), {"method": "POST", "target": "/", "body": b"{}"}
    ours = (*HEADERS, (b"X-Ours", b"1"))
    assert b"X-Ours" not in written(seen, UPSTREAMS[0], options, ())
    assert b"X-Ours: 1\r\n" in written(seen, UPSTREAMS[0], options, (), ours)
    assert b"X-Ours" not in written(seen, UPSTREAMS[0], options, ())


def test_a_head_is_written_once(monkeypatch):
    """While nothing but the length of the body changes."""
    count, serialize = [], sent_head.serialize
    monkeypatch.setattr(sent_head, "serialize", lambda *parts: count.append(parts) or serialize(*parts))
    seen = SimpleNamespace(sent=None)
    for size in (1, 12345, 0):
        head = written(seen, UPSTREAMS[0], {"method": "POST", "target": "/", "body": b"x" * size}, ())
        assert b"\r\nContent-Length: %d\r\n" % size in head
    assert len(count) == 1


async def test_a_connection_that_serves_two_upstreams(plane):
    """The client's connection stays, its requests go where they are told, each with its own length."""

    async def script(peer):
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    plane.script = script
    reader, writer = await plane.client()
    for prefix, body in (("", b"{}"), ("/p", b"{1}"), ("/p", b"{}"), ("", b"{22}")):
        plane.upstream.prefix = prefix
        writer.write(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await reader.readuntil(b"\r\n\r\n")
        peer = plane.requests[-1]
        assert peer.head.startswith(b"POST %b/x HTTP/1.1\r\n" % prefix.encode())
        assert (peer.body, dict(peer.headers)["content-length"]) == (body, str(len(body)))
    writer.close()
