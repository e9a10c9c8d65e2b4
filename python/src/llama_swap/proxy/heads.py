"""Find the head of an answer in the bytes that an upstream sends, and give up early on what can never become one."""

import re

from llama_swap.proxy.answer import MAX_HEAD_BYTES, AnswerHead, BadAnswerError
from llama_swap.proxy.repeated import RepeatedHead

HEAD_END = b"\r\n\r\n"
_END_BYTES = len(HEAD_END)
_BEGINNING = b"HTTP/1."
_TOO_LARGE = "the answer's head is too large"
_BARE_LF = re.compile(rb"(?<!\r)\n")


def check_beginning(data: bytes) -> None:
    """Refuse bytes without the end of a head that no further bytes can make one.

    Raises:
        BadAnswerError: they do not begin as HTTP/1 does, or end a line with LF alone (whose empty line we would await
            for ever).
    """
    if data[: len(_BEGINNING)] != _BEGINNING[: len(data)]:
        raise BadAnswerError("the answer is not HTTP/1")
    if _BARE_LF.search(data):
        raise BadAnswerError("the answer's head has a line that does not end with CRLF")


class HeadReader:
    """Collects reads until the head of the real answer is complete; interim ones (1xx) are skipped.

    Args:
        method: of the request, for a HEAD has no body.
        repeated: what reads the heads of this connection.
    """

    __slots__ = ("_method", "_pending", "_repeated", "_skipped_bytes")

    def __init__(self, method: str, repeated: RepeatedHead) -> None:
        self._method = method
        self._repeated = repeated
        self._pending = b""
        self._skipped_bytes = 0

    @property
    def is_within_head(self) -> bool:
        """Whether a head has begun and not ended."""
        return bool(self._pending)

    def feed(self, data: bytes) -> tuple[AnswerHead, bytes, bytes] | None:
        """Take a read; what the head says, its bytes and those after it, None while it is incomplete.

        Raises:
            BadAnswerError: it is malformed, ambiguous, too large (all interim ones together count) or no HTTP.
        """
        data = self._pending + data
        while (end := data.find(HEAD_END) + _END_BYTES) >= _END_BYTES:
            if self._skipped_bytes + end > MAX_HEAD_BYTES:
                raise BadAnswerError(_TOO_LARGE)
            head, data = data[:end], data[end:]
            said = self._repeated.read(head, self._method)
            if not said.is_interim:
                self._pending = b""
                return said, head, data
            self._skipped_bytes += end
        self._pending = data
        check_beginning(data)
        if self._skipped_bytes + len(data) > MAX_HEAD_BYTES:
            raise BadAnswerError(_TOO_LARGE)
        return None
