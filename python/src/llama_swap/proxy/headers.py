"""Message heads: what may travel through a proxy, and how our own heads are written (RFC 9110 §7.6, RFC 9112)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache

from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.exchange import RawHeaders

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Ours to write: the body is measured by us, and 100-continue was answered by our own front already.
_REWRITTEN = frozenset({b"content-length", b"expect", b"x-forwarded-for"})
# A client may not use `Connection: host` to take these off a request (hop-by-hop abuse).
_NEVER_NOMINATED = frozenset(
    {b"host", b"content-type", b"content-encoding", b"content-length", b"date", b"x-forwarded-for"}
)
# Those of a request that pass, depending on how many they are or on what they say.
_LOOKED_AT = frozenset({b"host", b"accept-encoding"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

_Header = tuple[bytes, bytes]

_EVENT_STREAM = b"text/event-stream"
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_TARGET = re.compile(rb"/[!-~\x80-\xff]*")


def nominated(headers: RawHeaders) -> frozenset[bytes]:
    """The lower-case names that the Connection headers declare to be for one hop only."""
    names: set[bytes] = set()
    for name, value in headers:
        if name.lower() == b"connection":
            names.update(token.strip().lower() for token in value.split(b","))
    return frozenset(names) - _NEVER_NOMINATED


@lru_cache(maxsize=64)
def _special(dropped: frozenset[str]) -> frozenset[bytes]:
    """The names of a request that do not simply travel on."""
    return HOP_BY_HOP.union(_REWRITTEN, _LOOKED_AT, (name.encode() for name in dropped))


def readable_encodings(headers: RawHeaders) -> RawHeaders:
    """The headers with Accept-Encoding reduced to what we can read usage from; none of it left is none accepted."""
    for name, _ in headers:
        if name.lower() == b"accept-encoding":
            break
    else:
        return headers
    return [
        (name, _gzip_and_deflate(value) if name.lower() == b"accept-encoding" else value) for name, value in headers
    ]


@lru_cache(maxsize=64)
def _gzip_and_deflate(value: bytes) -> bytes:
    offered = [token.strip() for token in value.split(b",")]
    kept = [token for token in offered if token.partition(b";")[0].lower() in {b"gzip", b"deflate", b"identity"}]
    return b", ".join(kept) or b"identity"


def request_line(method: str, prefix: str, target: str) -> bytes:
    """The first line of a request to an upstream.

    Raises:
        RequestError: INVALID_REQUEST where method or target could be read as something else.
    """
    path = (prefix + target).encode()
    if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(path):
        raise RequestError(Reason.INVALID_REQUEST, "the method or the target of this request cannot be forwarded")
    return b"%b %b HTTP/1.1\r\n" % (method.encode(), path)


def _pass_on(
    headers: RawHeaders, dropped: frozenset[str], *, authority: str, readable: bool
) -> tuple[list[_Header], list[bytes]]:
    """What travels on of a request's headers, and the values of X-Forwarded-For; each request comes through here."""
    special = _special(dropped)
    sent, hops, connection = [], [], []
    hosts = 0
    for header in headers:
        name = header[0].lower()
        if name not in special:
            sent.append(header)
        elif name == b"host":
            hosts += 1
            sent.append(header)
        elif name == b"x-forwarded-for":
            hops.append(header[1])
        elif name == b"connection":
            connection.append(header)
        elif name == b"accept-encoding" and "accept-encoding" not in dropped:
            sent += readable_encodings([header]) if readable else [header]
    if hosts > 1:
        raise RequestError(Reason.INVALID_REQUEST, "a request may have one Host header only")
    if connection and (names := nominated(connection) - HOP_BY_HOP):
        sent = [header for header in sent if header[0].lower() not in names]
    if not hosts:
        sent.insert(0, (b"Host", authority.encode("latin-1", "replace")))
    return sent, hops


def request_headers(  # noqa: PLR0913 - one parameter for each thing that decides about a header
    headers: RawHeaders,
    *,
    authority: str,
    remote: str | None,
    dropped: Iterable[str],
    method: str,
    length_bytes: int | None,
    chunked: bool = False,
    hop: Sequence[tuple[bytes, bytes]] = (),
    readable: bool = False,
) -> list[tuple[bytes, bytes]]:
    """The headers for the upstream; the client's Host is kept, ``authority`` stands in where there is none.

    With ``readable`` the upstream is asked to answer in a coding that we can unpack; ``hop`` is what this connection
    alone is told.

    Raises:
        RequestError: INVALID_REQUEST for two Host headers, which front and upstream could read differently.
    """
    sent, hops = _pass_on(headers, frozenset(dropped), authority=authority, readable=readable)
    if remote:
        hops.append(remote.encode("latin-1", "replace"))
    if hops:
        sent.append((b"X-Forwarded-For", b", ".join(hops)))
    if chunked:
        sent.append((b"Transfer-Encoding", b"chunked"))
    elif length_bytes is not None:
        sent.append((b"Content-Length", b"%d" % length_bytes))
    elif method in _WITH_BODY:
        sent.append((b"Content-Length", b"0"))
    sent.extend(hop)
    return sent


def response_headers(
    headers: RawHeaders,
    fields: Mapping[bytes, bytes] | None = None,
    *,
    added: Sequence[tuple[str, str]] = (),
    dropped: frozenset[bytes] = frozenset(),
) -> list[tuple[bytes, bytes]]:
    """The headers for the client: the end to end ones, those of ours, and no buffering of event streams.

    Args:
        headers: the upstream's.
        fields: the same by lower-case name, where they are known so.
        added: ours.
        dropped: lower-case names of what must not travel on.
    """
    if fields is None:
        fields = {name.lower(): value for name, value in headers}
    extra = [(name.encode(), value.encode()) for name, value in added] if added else []
    if fields.get(b"content-type", b"")[:17].lower() == _EVENT_STREAM:
        extra.append((b"X-Accel-Buffering", b"no"))
    unwanted = HOP_BY_HOP
    if extra or dropped:
        unwanted = unwanted.union(dropped, (name.lower() for name, _ in extra))
    if unwanted.isdisjoint(fields):
        return [*headers, *extra]
    if b"connection" in fields:
        unwanted = unwanted.union(nominated(headers))
    sent = [header for header in headers if header[0].lower() not in unwanted]
    sent += extra
    return sent


def is_event_stream(headers: RawHeaders) -> bool:
    """Whether the answer is ``text/event-stream``."""
    return any(name.lower() == b"content-type" and value[:17].lower() == _EVENT_STREAM for name, value in headers)


def serialize(first_line: bytes, headers: RawHeaders) -> bytes:
    """A whole message head; the only place where one is written.

    Raises:
        RequestError: INVALID_REQUEST where a header would inject a line (CR, LF or NUL in a name or value).
    """
    head = first_line + b"\r\n".join([*map(b": ".join, headers), b"\r\n"])
    # Our own line ends are two bytes for each header, and four.
    if len(head) - len(head.translate(None, b"\r\n\0")) != 2 * len(headers) + 4:
        raise RequestError(Reason.INVALID_REQUEST, "a header contains a control character")
    return head


@lru_cache(maxsize=1)
def http_date(second: int) -> bytes:
    """The Date header's value for a time in whole seconds since 1970; formatted once a second."""
    return formatdate(second, usegmt=True).encode()
