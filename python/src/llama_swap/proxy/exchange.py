"""The plain data of one forwarded request: what to send, and what came of it.

msgspec's structs are made in C; a dataclass of this size takes five times as long.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from llama_swap.proxy.early import EarlyStream

RawHeaders = Sequence[tuple[bytes, bytes]]


class BodySource(Protocol):
    """A request body that is sent while it is read, and never held whole.

    Attributes:
        length_bytes: its exact length, or None where only the end tells (sent chunked then).
        replayable: whether :meth:`chunks` can be called again for the same bytes.
    """

    @property
    def length_bytes(self) -> int | None:
        """The exact length, None where it is not known."""
        ...

    @property
    def replayable(self) -> bool:
        """Whether the same bytes can be had again."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body, piece by piece."""
        ...


def is_replayable(body: bytes | BodySource | None) -> bool:
    """Whether the same bytes can be sent again."""
    return body is None or isinstance(body, bytes) or body.replayable


class Outgoing(msgspec.Struct, frozen=True):
    """A request as it is to reach the upstream.

    Attributes:
        target: path and query exactly as sent (percent-encoding untouched); starts with ``/``.
        headers: the client's headers as they came (``request.raw_headers``); hop-by-hop ones, lengths and ``Expect``
            are left out and ``X-Forwarded-For`` is appended while forwarding.
        body: the bytes, a source that streams, or None for no body.
        model: names the model in error messages.
        drop_headers: lower-case names that must not travel on (our credentials).
        response_headers: added to the answer; an upstream header of the same name is replaced.
        readable: the answer is read for its usage, so no coding is accepted that we cannot unpack.
        hides_client: no ``X-Forwarded-For`` is added (the upstream is somebody else's server).
        early: the event stream towards the client that has begun already; its answer goes in there.
    """

    method: str
    target: str
    headers: RawHeaders
    body: "bytes | BodySource | None"
    model: str
    drop_headers: frozenset[str] = frozenset()
    response_headers: Sequence[tuple[str, str]] = ()
    readable: bool = False
    hides_client: bool = False
    early: "EarlyStream | None" = None


class Outcome(StrEnum):
    """How an exchange ended.

    ``cancelled`` is ours: the handler was cancelled while the client was still there (shutdown, unload).
    """

    OK = "ok"
    CLIENT_GONE = "client_gone"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_DIED = "upstream_died"
    CANCELLED = "cancelled"


class Listener(Protocol):
    """Hears the body of an answer while it passes.

    Attributes:
        total_bytes: how much it has heard so far.
    """

    total_bytes: int

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""

    def mark(self) -> Callable[[], None]:
        """Returns how to forget what is heard from now on."""
        ...


class ByteCount:
    """Hears a body that nobody else listens to."""

    __slots__ = ("total_bytes",)

    def __init__(self) -> None:
        self.total_bytes = 0

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.total_bytes += len(piece)

    def mark(self) -> Callable[[], None]:
        """Returns how to forget what is heard from now on."""
        before = self.total_bytes

        def forget() -> None:
            self.total_bytes = before

        return forget


class Exchange(msgspec.Struct, eq=False):
    """What happened, for the request log; times are those of ``time.monotonic``.

    Attributes:
        status: the upstream's status; 0 while there is none.
        response_bytes: body bytes sent to the client as they are on the wire, chunk framing included.
        upstream_sent_at: when the last byte of the request was handed to the kernel; None without a connection.
        was_sent: bytes of the request were handed to some connection, so that it may be what ended the upstream.
        first_byte_at: when the answer's head was complete.
        finished_at: when nothing more will happen.
        outcome: None while it runs.
        detail: what went wrong, for the log; "" when nothing did.
        headers: the upstream's answer headers as received.
        fields: the same by lower-case name.
        began_early: the client got the head of an event stream from us, before any answer.
        on_head: called once the answer's head is known.
        listener: given each piece of the answer's body, without framing.
        why_cut: asked why the upstream broke off in the middle of its answer, and for the code of that error; "" is not
            known.
        cut_code: the code of the error that ends such an answer.
    """

    status: int = 0
    response_bytes: int = 0
    upstream_sent_at: float | None = None
    was_sent: bool = False
    first_byte_at: float | None = None
    finished_at: float | None = None
    outcome: Outcome | None = None
    detail: str = ""
    headers: list[tuple[bytes, bytes]] = msgspec.field(default_factory=list)
    fields: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    began_early: bool = False
    on_head: Callable[[], object] | None = None
    listener: Listener | None = None
    why_cut: Callable[[], Awaitable[tuple[str, str]]] | None = None
    cut_code: str = "upstream_died"

    @property
    def has_begun(self) -> bool:
        """Whether the client has the head of an answer, so that it can get no other one."""
        return self.began_early or self.status > 0

    def header(self, name: bytes) -> bytes:
        """The answer header of this lower-case name, or ``b""``."""
        if not self.fields:
            self.fields = {key.lower(): value for key, value in self.headers}
        return self.fields.get(name, b"")
