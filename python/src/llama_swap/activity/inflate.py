"""Compressed bodies, or beginnings of them, made readable within a limit (RFC 9110 §8.4.1)."""

import zlib

INFLATED_BYTES = 4 * 1024 * 1024
"""No more is ever unpacked: an answer that grows without end must not take the service's memory."""

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS


def inflate(body: bytes, encoding: str, *, limit_bytes: int = INFLATED_BYTES) -> bytes | None:
    """The body without its content coding; of a cut body as much as can be had.

    Args:
        body: the bytes on the wire.
        encoding: the value of ``Content-Encoding``; ``gzip`` and ``deflate`` are understood, the latter with and
            without zlib's header, as servers send both.
        limit_bytes: of the result; the rest is left out.

    Returns:
        None when the coding is another one, or the bytes are not in it.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _unpack(body, _GZIP, limit_bytes)
        case "deflate":
            unpacked = _unpack(body, _ZLIB, limit_bytes)
            return unpacked if unpacked is not None else _unpack(body, _RAW, limit_bytes)
        case _:
            return None


def _unpack(body: bytes, window_bits: int, limit_bytes: int) -> bytes | None:
    unpacker = zlib.decompressobj(window_bits)
    try:
        return unpacker.decompress(body, limit_bytes)
    except zlib.error:
        return None
