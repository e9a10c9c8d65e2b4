"""Where the messages in a client's bytes end, as far as it takes to know that the head of another one has begun.

aiohttp's parser knows and does not say. It has refused whatever is ambiguous, so a look at two headers is enough here;
a mistake costs an idle connection its life after the deadline of a head, nothing else.
"""

import re
from collections.abc import Sequence

from aiohttp import StreamReader, web

_HEAD_END = b"\r\n\r\n"
_HEAD_END_BYTES = len(_HEAD_END)
_DELIMITS = re.compile(rb"(?i)\n(?:content-length:[ \t]*(\d{1,18})|transfer-encoding:|upgrade:)")
_LONGEST_HEAD_BYTES = 4 * 1024 * 1024


def is_last(request: web.BaseRequest) -> bool:
    """Whether no further request is read from this connection: its answer says so, and the connection ends with it.

    That is so after a body in chunks, for aiohttp counts the trailers of one request among the headers of the next (the
    C parser up to 3.14 at least). And it is so after any wish to switch protocols: what follows such a request in the
    same read is dropped (and all of it before 3.13), so what comes after that could begin in the middle of a request.
    """
    headers = request.headers
    return not request.keep_alive or "Transfer-Encoding" in headers or "Upgrade" in headers


class MessageBoundary:
    """Follows the bytes of one connection."""

    __slots__ = ("_head", "_left", "_over")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._over = False

    @property
    def is_within_head(self) -> bool:
        """Whether a head has begun and not ended; to be asked when no request is in service."""
        return bool(self._head)

    def take(self, data: bytes, messages: Sequence[tuple[object, StreamReader]] = ()) -> None:
        """Take the next read.

        Args:
            data: what was read.
            messages: what the parser has made of it.
        """
        if len(messages) == 1 and not self._left and not self._head:
            message, content = messages[0]
            end = data.find(_HEAD_END) + _HEAD_END_BYTES + content.total_bytes
            if end == len(data) and content.is_eof() and not getattr(message, "upgrade", False):
                return  # the read is this request and nothing else, as most are
        if self._left >= len(data):
            self._left -= len(data)
        elif not self._over:
            self._take_heads(data[self._left :])

    def _take_heads(self, data: bytes) -> None:
        """Take what begins with a head, or with the rest of one."""
        data = (self._head + data).lstrip(b"\r\n")
        self._head = b""
        self._left = 0
        while data and not self._over:
            end = data.find(_HEAD_END)
            if end < 0:
                self._head = data
                self._over = len(data) > _LONGEST_HEAD_BYTES
                return
            length = 0
            for digits in _DELIMITS.findall(data, 0, end):
                if digits:
                    length = int(digits)
                else:
                    self._over = True
            end += _HEAD_END_BYTES + length
            if end >= len(data):
                self._left = end - len(data)
                return
            data = data[end:].lstrip(b"\r\n")
