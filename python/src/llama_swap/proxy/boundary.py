"""Where the messages in a client's bytes end, as far as it takes to know that the head of another one has begun.

aiohttp's parser knows and does not say. It has refused whatever is ambiguous, so a look at two headers is enough here;
a mistake costs an idle connection its life after the deadline of a head, nothing else.
"""

import re

from aiohttp import web

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"(?i)\ncontent-length:[ \t]*(\d+)")
_CHUNKED = re.compile(rb"(?i)\ntransfer-encoding:")
_UPGRADE = re.compile(rb"(?i)\nupgrade:")
_LONGEST_HEAD_BYTES = 4 * 1024 * 1024


def is_last(request: web.BaseRequest) -> bool:
    """Whether no further request is read from this connection: its answer says so, and the connection ends with it.

    That is so after any wish to switch protocols. What follows such a request in the same read is dropped by aiohttp
    (and all of it before 3.13), so what comes after that could begin in the middle of a request.
    """
    return not request.keep_alive or "Upgrade" in request.headers


class MessageBoundary:
    """Follows the bytes of one connection."""

    __slots__ = ("_chunked", "_head", "_left", "_opaque", "_recent")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._chunked = False
        self._opaque = False
        self._recent = b""

    @property
    def is_within_head(self) -> bool:
        """Whether a head has begun and not ended; to be asked when no request is in service."""
        if self._chunked:
            # The body has ended somewhere in the last reads; after its end there is nothing or a part of a head.
            self._chunked = False
            self._head = b"" if self._recent.endswith(_HEAD_END) else b"?"
        return bool(self._head)

    def take(self, data: bytes) -> None:
        """Take the next read."""
        if self._opaque:
            return
        if self._chunked:
            self._recent = (self._recent + data[-4:])[-4:]
            return
        if self._left >= len(data):
            self._left -= len(data)
            return
        self._take_head(data[self._left :])

    def _take_head(self, data: bytes) -> None:
        """Take what begins with a head, or with the rest of one."""
        self._left = 0
        self._head = (self._head + data).lstrip(b"\r\n")
        end = self._head.find(_HEAD_END)
        if end < 0:
            self._opaque = len(self._head) > _LONGEST_HEAD_BYTES
            return
        head, self._head = self._head, b""
        length = _LENGTH.search(head, 0, end)
        self._left = int(length[1]) if length else 0
        self._chunked = _CHUNKED.search(head, 0, end) is not None
        self._opaque = _UPGRADE.search(head, 0, end) is not None  # what follows may be no HTTP
        after = end + len(_HEAD_END)
        self._recent = head[-4:]
        if self._left >= len(head) - after:
            self._left -= len(head) - after
        elif not self._chunked and not self._opaque:
            self.take(head[after:])
