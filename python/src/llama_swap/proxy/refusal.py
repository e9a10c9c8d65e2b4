"""Whole answers to what never becomes a request: they are written raw, for aiohttp's own name it and echo the input."""

from time import time

import msgspec

from llama_swap.proxy.headers import http_date, serialize

_PHRASES = {
    400: b"Bad Request",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
_CODES = {400: "bad_request", 417: "bad_request", 431: "bad_request", 500: "internal_error", 504: "gateway_timeout"}


def envelope(status: int, message: str) -> bytes:
    """The OpenAI error envelope with llama-swap's ``src`` mark."""
    kind = "invalid_request_error" if status < 500 else "server_error"  # noqa: PLR2004 - RFC 9110's classes
    code = _CODES.get(status, "service_unavailable")
    error = {"message": message, "type": kind, "param": None, "code": code}
    return msgspec.json.encode({"src": "llama-swap", "error": error})


def refusal(status: int, message: str) -> bytes:
    """An answer after which the connection is closed; ``message`` never holds anything that the client sent."""
    body = envelope(status, message)
    headers = [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Connection", b"close"),
        (b"Date", http_date(int(time()))),
    ]
    return serialize(b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES[status]), headers) + body
