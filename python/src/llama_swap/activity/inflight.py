"""The requests that wait for a model or are being served, who watches them, and how one is cancelled.

Entering and leaving are a dictionary access each. Headers are only redacted and bytes only counted when somebody looks,
and the timer that reports bytes runs only while somebody does.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Protocol

import msgspec

from llama_swap.activity.redact import HeaderPairs, redact_headers
from llama_swap.activity.row import NO_METADATA, rfc3339

UPDATE_SECONDS = 0.25
"""Byte counts are sent this often at most (llama-swap v250)."""

Frame = dict[str, Any]
"""``{"operation": "snapshot"|"upsert"|"remove", ...}`` as in llama-swap's ``inflight`` events."""
Listener = Callable[[Frame], None]


class InflightState(StrEnum):
    """Whether a request waits for an instance or has one."""

    WAITING = "waiting"
    SERVING = "serving"


_SERVING: Final = InflightState.SERVING


class Answer(Protocol):
    """What is known so far of the answer to a request; read only when somebody looks.

    Attributes:
        headers: none while they are not known.
        response_bytes: what its client has got.
    """

    @property
    def headers(self) -> HeaderPairs:
        """As received."""
        ...

    @property
    def response_bytes(self) -> int:
        """As they are on the wire."""
        ...


class _NoAnswer(msgspec.Struct, frozen=True):
    headers: HeaderPairs = ()
    response_bytes: int = 0


NO_ANSWER: Answer = _NoAnswer()


class InflightRequest(msgspec.Struct, eq=False):
    """One request on its way.

    Attributes:
        model: the configured ID.
        method: GET, POST ...
        req_path: without query.
        cancel: ends the request's handler.
        req_headers: kept as they are; read only when somebody looks.
        remote_ip: the client's address.
        metadata: as in the activity row.
        answer: fills itself while the request is served.
        id: given by the table; unique in this run of the service.
        cancelled: somebody asked to end it; its handler can tell that from a client that left.
    """

    model: str
    method: str
    req_path: str
    cancel: Callable[[], object]
    req_headers: HeaderPairs = ()
    remote_ip: str = ""
    metadata: Mapping[str, str] = NO_METADATA
    answer: Answer = NO_ANSWER
    id: str = ""
    started_at: float = msgspec.field(default_factory=time.time)
    state: InflightState = InflightState.WAITING
    cancelled: bool = False
    reported_bytes: int = 0


class InflightTable:
    """All requests to models; belongs to the event loop.

    Args:
        secrets: the API keys in force, which are never shown.
    """

    def __init__(self, secrets: Callable[[], Sequence[str]] = tuple) -> None:
        self._secrets = secrets
        self._requests: dict[str, InflightRequest] = {}
        self._ids = itertools.count(1)
        self._listeners: dict[object, Listener] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._requests)

    def enter(self, request: InflightRequest) -> None:
        """Add a request that waits; whoever calls this calls :meth:`leave` in any case."""
        request.id = str(next(self._ids))
        self._requests[request.id] = request
        if self._listeners:
            self._announce(request)

    def serve(self, request: InflightRequest) -> None:
        """The request has an instance now."""
        request.state = _SERVING
        if self._listeners:
            self._announce(request)

    def answered(self, request: InflightRequest) -> None:
        """The head of the answer is known."""
        if self._listeners:
            self._announce(request)

    def leave(self, request: InflightRequest) -> None:
        """The request is over."""
        if self._requests.pop(request.id, None) is not None and self._listeners:
            self._send({"operation": "remove", "id": request.id})

    def cancel(self, request_id: str) -> bool:
        """End a request; False when there is none with this ID."""
        request = self._requests.get(request_id)
        if request is None:
            return False
        request.cancelled = True
        request.cancel()
        return True

    # -- who watches ----------------------------------------------------------

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with every change from now on; it must not raise or wait. Returns how to stop that."""
        key = object()
        self._listeners[key] = listener
        self._arm()

        def unsubscribe() -> None:
            self._listeners.pop(key, None)

        return unsubscribe

    def snapshot(self) -> Frame:
        """All requests, oldest first; like llama-swap's without ``requests`` when there are none."""
        frame: Frame = {"operation": "snapshot"}
        if self._requests:
            frame["requests"] = [self._shown(request) for request in self._requests.values()]
        return frame

    def _announce(self, request: InflightRequest) -> None:
        self._send({"operation": "upsert", "request": self._shown(request)})
        self._arm()

    def _send(self, frame: Frame) -> None:
        for listener in list(self._listeners.values()):
            listener(frame)

    def _arm(self) -> None:
        if self._timer is None and self._listeners and self._requests:
            self._timer = asyncio.get_running_loop().call_later(UPDATE_SECONDS, self._report_bytes)

    def _report_bytes(self) -> None:
        self._timer = None
        for request in list(self._requests.values()):
            if request.answer.response_bytes != request.reported_bytes:
                self._announce(request)
        self._arm()

    def _shown(self, request: InflightRequest) -> dict[str, Any]:
        """llama-swap's fields, ``state`` and ``cancelled`` of ours."""
        secrets = self._secrets()
        request.reported_bytes = request.answer.response_bytes
        shown: dict[str, Any] = {
            "id": request.id,
            "timestamp": rfc3339(request.started_at),
            "model": request.model,
            "req_path": request.req_path,
            "method": request.method,
            "req_headers": redact_headers(request.req_headers, secrets),
            "remote_ip": request.remote_ip,
            "resp_headers": redact_headers(request.answer.headers, secrets),
            "resp_bytes": request.reported_bytes,
            "elapsed_ms": max(0, int((time.time() - request.started_at) * 1000)),
            "state": request.state.value,
            "cancelled": request.cancelled,
        }
        if request.metadata:
            shown["metadata"] = dict(request.metadata)
        return shown
