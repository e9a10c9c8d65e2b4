"""What is kept of an answer that passes: its beginning and its end, as they are on the wire, without a copy."""

from collections import deque
from collections.abc import Callable
from time import monotonic

import msgspec

HEAD_BYTES = 256 * 1024
"""An answer up to this size is kept whole: every chat completion, most streams."""
TAIL_BYTES = 32 * 1024
"""Of a longer one the end is kept too, where servers put usage and timings."""


class ResponseSample(msgspec.Struct, frozen=True, gc=False):
    """The parts of an answer from which usage is read.

    Attributes:
        content_type: the header's value, "" when there is none.
        content_encoding: the header's value, "" when there is none.
        status: HTTP status.
        head: the first bytes of the body, still compressed, without chunk framing; the whole body where
            ``total_bytes`` is not more.
        tail: the last bytes of the body; may overlap with ``head`` or be empty when ``head`` is the whole body.
        total_bytes: length of the body.
        complete: the body came to its own end; False when the upstream died or the client left.
    """

    content_type: str
    content_encoding: str
    status: int
    head: bytes
    tail: bytes
    total_bytes: int
    complete: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether ``head`` is everything that came."""
        return len(self.head) >= self.total_bytes


class BodySampler(msgspec.Struct, eq=False):
    """Collects the beginning and the end of one body, piece by piece.

    Pieces are kept as they are, so the cost of one is a comparison and an append.

    Attributes:
        head_bytes: how much of the beginning to keep; more than :data:`HEAD_BYTES` only for captures.
        tail_bytes: how much of the end.
        first_at: when the first byte of the body came, in monotonic seconds. That is not when the head came: some
            servers send it before they have computed anything.
        total_bytes: of the body so far.
    """

    head_bytes: int = HEAD_BYTES
    tail_bytes: int = TAIL_BYTES
    first_at: float | None = None
    total_bytes: int = 0
    _head: list[bytes] = msgspec.field(default_factory=list)
    _tail: deque[bytes] | None = None
    _tail_held: int = 0

    def add(self, piece: bytes) -> None:
        """Take note of the next bytes of the body."""
        total = self.total_bytes
        if not total:
            self.first_at = monotonic()
        self.total_bytes = total = total + len(piece)
        if total <= self.head_bytes:
            self._head.append(piece)
        else:
            self._keep_end(piece)

    def _keep_end(self, piece: bytes) -> None:
        if self.total_bytes - len(piece) < self.head_bytes:
            self._head.append(piece)  # the head ends within it
        if len(piece) > 2 * self.tail_bytes:
            # Do not keep a big read alive for the sake of its end.
            piece = piece[-self.tail_bytes :]
        if self._tail is None:
            self._tail = deque()  # it takes half a kilobyte, and few answers are so long
        tail = self._tail
        tail.append(piece)
        self._tail_held += len(piece)
        while self._tail_held - len(tail[0]) >= self.tail_bytes:
            self._tail_held -= len(tail.popleft())

    def mark(self) -> Callable[[], None]:
        """Returns how to forget what is heard from now on."""
        before = self._head, self._tail, self._tail_held, self.first_at, self.total_bytes
        self._head, self._tail, self._tail_held = [], None, 0

        def forget() -> None:
            self._head, self._tail, self._tail_held, self.first_at, self.total_bytes = before

        return forget

    def head(self) -> bytes:
        """The beginning, at most ``head_bytes``."""
        return b"".join(self._head)[: self.head_bytes]

    def sample(self, *, content_type: str, content_encoding: str, status: int, complete: bool) -> ResponseSample:
        """What is known now about the body."""
        tail = b"".join(self._tail)[-self.tail_bytes :] if self._tail else b""
        return ResponseSample(content_type, content_encoding, status, self.head(), tail, self.total_bytes, complete)
