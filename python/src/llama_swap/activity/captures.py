"""Whole requests and answers for debugging: off by default, bounded, without credentials.

What is kept is packed and compressed; the oldest go when there is no room. Compressing takes time, so
:meth:`Captures.put` is meant for the store's thread; everything else only looks.
"""

import threading
import zlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from llama_swap.activity.inflate import INFLATED_BYTES, inflate
from llama_swap.activity.redact import HeaderPairs, redact_body, redact_headers, text_headers

_OK = 200
_COMPRESSION = 1

# Big binary bodies say nothing in a debugger: paths whose request, and whose answer, is one (llama-swap v250).
_BINARY_REQUESTS = frozenset({"/v1/audio/voices", "/v1/audio/transcriptions", "/v1/images/edits", "/sdapi/v1/img2img"})
_BINARY_ANSWERS = frozenset(
    {"/v1/audio/speech", "/v1/images/generations", "/v1/images/edits", "/sdapi/v1/txt2img", "/sdapi/v1/img2img"}
)
_BINARY_TYPES = ("audio/", "image/", "video/", "multipart/", "application/octet-stream")


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What went in and what came out, as it was.

    Attributes:
        req_path: without query, as the upstream's own route.
        req_body: as the upstream got it, after all filters; None where it passed without being held.
        resp_body: as on the wire, still compressed.
        resp_cut: ``resp_body`` is only the beginning.
    """

    req_path: str
    req_headers: HeaderPairs
    req_body: bytes | None
    status: int
    resp_headers: HeaderPairs
    resp_body: bytes
    resp_cut: bool = False


class _Capture(msgspec.Struct, array_like=True):
    req_path: str
    req_headers: dict[str, str]
    req_body: bytes | None
    resp_headers: dict[str, str]
    resp_body: bytes | None
    resp_cut: bool


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Capture).decode


class Captures:
    """The newest exchanges that fit into the buffer; may be used from any thread.

    Args:
        limit_bytes: of all that is kept, as it is kept; 0 keeps nothing.
        secrets: the API keys in force, which are never kept.

    Attributes:
        enabled: anything is kept at all.
    """

    def __init__(self, limit_bytes: int, secrets: Callable[[], Sequence[str]] = tuple) -> None:
        self._limit_bytes = limit_bytes
        self.enabled = limit_bytes > 0
        self._secrets = secrets
        self._packed: dict[int, bytes] = {}
        self._held_bytes = 0
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """How much is kept now."""
        return self._held_bytes

    def resize(self, limit_bytes: int) -> None:
        """Put another limit in force, at once."""
        with self._lock:
            self._limit_bytes = limit_bytes
            self.enabled = limit_bytes > 0
            self._evict()

    def put(self, row_id: int, exchanged: Exchanged) -> None:
        """Keep an exchange under the ID of its activity row, unless it alone is more than the limit."""
        if not self.enabled:
            return
        packed = zlib.compress(_pack(_capture(exchanged, self._secrets())), _COMPRESSION)
        with self._lock:
            if len(packed) <= self._limit_bytes:
                self._held_bytes += len(packed) - len(self._packed.pop(row_id, b""))
                self._packed[row_id] = packed
                self._evict()

    def get(self, row_id: int) -> dict[str, Any] | None:
        """The exchange of an activity row in llama-swap's JSON form, or None when it is not kept (any more).

        Bodies are base64, or None where they are left out; ``resp_truncated`` (ours) marks a cut one.
        """
        with self._lock:
            packed = self._packed.get(row_id)
        if packed is None:
            return None
        capture = _unpack(zlib.decompress(packed))
        shown = {
            "id": row_id,
            "req_path": capture.req_path,
            "req_headers": capture.req_headers,
            "req_body": _base64(capture.req_body),
            "resp_headers": capture.resp_headers,
            "resp_body": _base64(capture.resp_body),
        }
        return shown | {"resp_truncated": True} if capture.resp_cut else shown

    def __contains__(self, row_id: int) -> bool:
        return row_id in self._packed

    def _evict(self) -> None:
        while self._held_bytes > self._limit_bytes:
            oldest = next(iter(self._packed))
            self._held_bytes -= len(self._packed.pop(oldest))


def _capture(exchanged: Exchanged, secrets: Sequence[str]) -> _Capture:
    """Without credentials and binary bodies; of a failure only the request, as the row has its message."""
    request, answer = _lower(exchanged.req_headers), _lower(exchanged.resp_headers)
    path, failed = exchanged.req_path, exchanged.status != _OK
    resp_body: bytes | None = None
    cut = exchanged.resp_cut
    if not failed and path not in _BINARY_ANSWERS and not _is_binary(answer):
        resp_body = inflate(exchanged.resp_body, answer.get("content-encoding", ""))
        cut = cut or (resp_body is not None and len(resp_body) >= INFLATED_BYTES and "content-encoding" in answer)
    req_body = None if path in _BINARY_REQUESTS or _is_binary(request) else exchanged.req_body
    return _Capture(
        req_path=path,
        req_headers=redact_headers(exchanged.req_headers, secrets),
        req_body=None if req_body is None else redact_body(req_body, secrets),
        resp_headers=redact_headers(exchanged.resp_headers, secrets),
        resp_body=None if resp_body is None else redact_body(resp_body, secrets),
        resp_cut=cut and resp_body is not None,
    )


def _lower(headers: HeaderPairs) -> dict[str, str]:
    return {name.lower(): value for name, value in text_headers(headers)}


def _is_binary(headers: dict[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith(_BINARY_TYPES)


def _base64(body: bytes | None) -> str | None:
    return None if body is None else b64encode(body).decode()
