"""Random messages: right ones with one kind of strangeness in them, and a few bytes changed here and there."""

from hypothesis import strategies as st

_BODIES = [b"", b"{}", b'{"model":"m"}', b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"\r\n", b"0\r\n\r\n", b"a" * 70]

# What each part of a message is in a right one, and in a strange one.
_RIGHT = {
    "eol": [b"\r\n"],
    "space": [b" "],
    "colon": [b": ", b":", b":  ", b":\t"],
    "method": [b"GET", b"POST", b"HEAD", b"DELETE", b"OPTIONS"],
    "target": [b"/", b"/v1/models?a=b", b"http://h/x", b"//", b"/%0d%0a", b"*"],
    "version": [b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"],
    "host": [b"Host: h", b"host:h", b"Host: h:1"],
    "name": [b"X", b"Accept", b"Content-Type", b"X_Y", b"Content_Length"],
    "value": [b"a", b"", b"a, b", b'"', b"\xe9", b"a b"],
    "size": [b"%x", b"%x", b"%X", b"0%x"],
    "extension": [b"", b"", b"", b";a=b", b";a"],
    "last": [b"0", b"0", b"000"],
    "trailer": [b"", b"", b"X: y\r\n"],
    "length": [b"%d"],
    "coding": [b"chunked", b"chunked", b"Chunked"],
    "framing": ["none", "length", "chunked"],
    "status": [b"200", b"200", b"201", b"204", b"304", b"404", b"500", b"100", b"103"],
    "reason": [b" OK", b" ", b" \xe9"],
}
_STRANGE = {
    "eol": [b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"\r\n ", b"\r\n\t"],
    "space": [b"", b"  ", b"\t", b"\x0b", b"\0"],
    "colon": [b" :", b"\t:", b"", b"\0:", b":\r\n ", b"::"],
    "method": [b"CONNECT", b"PRI", b"get", b"G T", b"", b"G\xc3"],
    "target": [b"", b"/a b", b"h:1", b"/\xc3\xa9", b"/#", b"/\x7f", b"/\t", b"http://", b"ftp://x/", b"http://[::1/"],
    "version": [b"HTTP/1.2", b"HTTP/0.9", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1", b""],
    "host": [b"X: y", b"Host: h\r\nHost: g", b"Host:", b" Host: h", b"Host: a b", b"Host: h\0"],
    "name": [
        b"Connection",
        b"Upgrade",
        b"Expect",
        b"Host",
        b"X Y",
        b"",
        b"\xc3",
        b"(x)",
        b"Keep-Alive",
        b"TE",
        b"Trailer",
    ],
    "value": [
        b"close",
        b"keep-alive",
        b"Upgrade",
        b"100-continue",
        b"websocket",
        b"a\0b",
        b"\x7f",
        b"a\x0bb",
        b"chunked",
    ],
    "size": [b"+%x", b"0x%x", b" %x", b"%xg", b"1000000000000000%x", b"-%x", b"%x ", b"0_%x", b"\t%x"],
    "extension": [b" ", b";\n", b';a="b\r\n"', b"\t", b" ;a", b";a\rb", b";\0", b"a", b';a="\\"b"', b"; a = b"],
    "last": [b"", b"-0", b"00x", b"0 ", b"1"],
    "trailer": [
        b"Content-Length: 3\r\n",
        b"X\r\n",
        b" x\r\n",
        b"X: y\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\0: y\r\n",
    ],
    "length": [b"+%d", b"0%d", b"%d, 2", b"0x%x", b"%d ", b"-%d", b"%d.0", b"1_%d", b"", b"9999999999999999999%d"],
    "coding": [
        b"gzip",
        b"identity",
        b"gzip, chunked",
        b"chunked, chunked",
        b"xchunked",
        b"",
        b"chunked;a",
        b'"chunked"',
    ],
    "framing": ["both", "two", "two codings", "short", "long"],
    "status": [b"101", b"99", b"600", b"0", b"20", b"2000", b"-1", b"abc"],
    "reason": [b"", b" a\rb", b"OK", b" \0", b"\tOK"],
}


@st.composite
def _message(draw, kind):
    """One request or answer: mostly right parts, and one kind of strange ones at most."""
    strange = draw(st.sampled_from([None, None, *_STRANGE]))

    def part(name):
        return draw(st.sampled_from(_STRANGE[name] if name == strange else _RIGHT[name]))

    if kind == "request":
        first = part("method") + part("space") + part("target") + part("space") + part("version")
        first += part("eol") + part("host")
    else:
        first = part("version") + part("space") + part("status") + part("reason")
    framing, body = _framed(part, draw(st.sampled_from(_BODIES)), part("framing"))
    fields = [(part("name"), part("value")) for _ in range(draw(st.integers(0, 2)))]
    lines = b"".join(name + part("colon") + value + part("eol") for name, value in [*fields, *framing])
    return first + part("eol") + lines + part("eol") + body


def _framed(part, body, framing):
    """The header fields that delimit a body, and the body in that form."""
    text = part("length")
    length = (b"Content-Length", text % len(body) if b"%" in text else text)
    coding = (b"Transfer-Encoding", part("coding"))
    fields = {
        "none": [],
        "chunked": [coding],
        "both": [length, coding],
        "two": [length, (b"Content-Length", b"0")],
        "two codings": [coding, coding],
    }
    if coding in fields.get(framing, ()):
        return fields[framing], _chunked(part, body)
    return fields.get(framing, [length]), {"none": b"", "short": body[1:], "long": body + b"a"}.get(framing, body)


def _chunked(part, body):
    """A chunked body of two chunks and a trailer."""
    text = b""
    for data in filter(len, (body[:5], body[5:])):
        text += part("size") % len(data) + part("extension") + part("eol") + data + part("eol")
    return text + part("last") + part("extension") + part("eol") + part("trailer") + part("eol")


@st.composite
def _reads(draw, messages):
    """The bytes of some messages, a few of them changed, in several reads."""
    data = bytearray(b"".join(draw(messages)))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        start = draw(st.integers(0, len(data)))
        change = draw(
            st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b"\t", b":", b";", b"0", b"\x80", b",", b"\r\n"])
        )
        data[start : start + draw(st.integers(0, 2))] = change
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    return [bytes(data[start:end]) for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]


def requests():
    """The reads of a connection with up to three requests."""
    return _reads(st.lists(_message("request"), min_size=1, max_size=3))


def answers():
    """The reads of an upstream's connection with up to two answers."""
    return _reads(st.lists(_message("answer"), min_size=1, max_size=2))
