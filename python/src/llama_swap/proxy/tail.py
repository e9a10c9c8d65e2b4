"""The end of an answer's body, kept for its usage figures and for the framing of an error event."""

from collections import deque
from collections.abc import Callable

from llama_swap.proxy.exchange import TAIL_BYTES

_PIECES = 64


class BodyTail:
    """Takes each piece of a body without framing, keeps the last ones, and passes them all to a listener.

    Attributes:
        pieces: the end of the body as it came.
    """

    __slots__ = ("_on_piece", "pieces")

    def __init__(self, on_piece: Callable[[bytes], object] | None) -> None:
        self._on_piece = on_piece
        self.pieces: deque[bytes] = deque(maxlen=_PIECES)

    def note(self, piece: bytes) -> None:
        """Take the next piece."""
        self.pieces.append(piece)
        if self._on_piece is not None:
            self._on_piece(piece)

    def trim(self) -> None:
        """Keep no big read alive for the sake of its end."""
        tail = self.joined()
        self.pieces.clear()
        self.pieces.append(tail)

    def joined(self) -> bytes:
        """The end of the body as far as it is kept, at most :data:`TAIL_BYTES`."""
        return b"".join(self.pieces)[-TAIL_BYTES:]
