"""Message heads: what may travel through a proxy, and how our own heads are written (RFC 9110 §7.6, RFC 9112)."""

import re
from collections.abc import Iterable, Sequence
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
_NEVER_NOMINATED = frozenset({b"host", b"content-type", b"content-encoding", b"content-length", b"x-forwarded-for"})

# To compare lengths first spares making most names lower-case.
_HOST_BYTES = len(b"host")
_XFF_BYTES = len(b"x-forwarded-for")
_CONTENT_TYPE_BYTES = len(b"content-type")

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_TARGET = re.compile(rb"/[!-~\x80-\xff]*")


def nominated(headers: RawHeaders) -> frozenset[bytes]:
    """The lower-case names that the Connection headers declare to be for one hop only."""
    names: set[bytes] = set()
    for name, value in headers:
        if name.lower() == b"connection":
            names.update(token.strip().lower() for token in value.split(b","))
    return frozenset(names) - _NEVER_NOMINATED


def end_to_end(headers: RawHeaders, unwanted: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """The headers that travel on: without the ``unwanted`` (lower-case, hop-by-hop ones among them) and the nominated.

    Each request and each answer comes through here, so it is one pass for all but the few that nominate something.
    """
    sent = []
    nominates = False
    for header in headers:
        name = header[0].lower()
        if name not in unwanted:
            sent.append(header)
        elif name == b"connection":
            nominates = True
    if nominates and (names := nominated(headers) - unwanted):
        sent = [header for header in sent if header[0].lower() not in names]
    return sent


@lru_cache(maxsize=64)
def _unwanted_of_request(dropped: frozenset[str]) -> frozenset[bytes]:
    return HOP_BY_HOP.union(_REWRITTEN, (name.encode() for name in dropped))


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


def _gzip_and_deflate(value: bytes) -> bytes:
    offered = [token.strip() for token in value.split(b",")]
    kept = [token for token in offered if token.partition(b";")[0].lower() in {b"gzip", b"deflate", b"identity"}]
    return b", ".join(kept) or b"identity"


def forwarded_for(headers: RawHeaders, remote: str | None) -> bytes:
    """The X-Forwarded-For value with the client's address appended; ``b""`` where there is nothing to say."""
    hops = [value for name, value in headers if len(name) == _XFF_BYTES and name.lower() == b"x-forwarded-for"]
    if remote:
        hops.append(remote.encode("latin-1", "replace"))
    return b", ".join(hops)


def request_line(method: str, prefix: str, target: str) -> bytes:
    """The first line of a request to an upstream.

    Raises:
        RequestError: INVALID_REQUEST where method or target could be read as something else.
    """
    path = (prefix + target).encode()
    if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(path):
        raise RequestError(Reason.INVALID_REQUEST, "the method or the target of this request cannot be forwarded")
    return b"%b %b HTTP/1.1\r\n" % (method.encode(), path)


def request_headers(  # noqa: PLR0913 - one parameter for each thing that decides about a header
    headers: RawHeaders,
    *,
    authority: str,
    remote: str | None,
    dropped: Iterable[str],
    method: str,
    length_bytes: int | None,
    chunked: bool = False,
    last: bool = False,
) -> list[tuple[bytes, bytes]]:
    """The headers for the upstream; the client's Host is kept, ``authority`` stands in where there is none.

    With ``last`` the upstream is asked to read nothing after this request.

    Raises:
        RequestError: INVALID_REQUEST for two Host headers, which front and upstream could read differently.
    """
    sent = end_to_end(headers, _unwanted_of_request(frozenset(dropped)))
    hosts = 0
    for name, _ in sent:
        hosts += len(name) == _HOST_BYTES and name.lower() == b"host"
    if hosts > 1:
        raise RequestError(Reason.INVALID_REQUEST, "a request may have one Host header only")
    if not hosts:
        sent.insert(0, (b"Host", authority.encode("latin-1", "replace")))
    if hops := forwarded_for(headers, remote):
        sent.append((b"X-Forwarded-For", hops))
    if chunked:
        sent.append((b"Transfer-Encoding", b"chunked"))
    elif length_bytes is not None:
        sent.append((b"Content-Length", b"%d" % length_bytes))
    elif method in {"POST", "PUT", "PATCH"}:
        sent.append((b"Content-Length", b"0"))
    if last:
        sent.append((b"Connection", b"close"))
    return sent


def response_headers(
    headers: RawHeaders,
    *,
    added: Sequence[tuple[str, str]] = (),
    dropped: frozenset[bytes] = frozenset(),
) -> list[tuple[bytes, bytes]]:
    """The headers for the client: end to end ones, a Date (RFC 9110 §6.6.1), and no buffering of event streams."""
    extra = [(name.encode(), value.encode()) for name, value in added]
    if is_event_stream(headers):
        extra.append((b"X-Accel-Buffering", b"no"))
    unwanted = HOP_BY_HOP
    if extra or dropped:
        unwanted = unwanted.union(dropped, (name.lower() for name, _ in extra))
    sent = end_to_end(headers, unwanted)
    sent.extend(extra)
    return sent


def is_event_stream(headers: RawHeaders) -> bool:
    """Whether the answer is ``text/event-stream``."""
    for name, value in headers:
        is_type = len(name) == _CONTENT_TYPE_BYTES and name.lower() == b"content-type"
        if is_type and value[:17].lower() == b"text/event-stream":
            return True
    return False


def serialize(first_line: bytes, headers: RawHeaders) -> bytes:
    """A whole message head; the only place where one is written.

    Raises:
        RequestError: INVALID_REQUEST where a header would inject a line (CR, LF or NUL in a name or value).
    """
    lines = [first_line]
    lines += [b"%b: %b\r\n" % header for header in headers]
    head = b"".join(lines)
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
        raise RequestError(Reason.INVALID_REQUEST, "a header contains a control character")
    return head + b"\r\n"


@lru_cache(maxsize=1)
def http_date(second: int) -> bytes:
    """The Date header's value for a time in whole seconds since 1970; formatted once a second."""
    return formatdate(second, usegmt=True).encode()
