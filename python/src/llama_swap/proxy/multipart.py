"""Forms: find the ``model`` field of an upload while it streams, and send it on without ever holding the file.

Only what comes before the file is kept, or before the end of ``model`` where that comes later (in memory up to 1 MiB,
then in a temporary file); the rest goes from socket to socket. A rewrite of fields changes the form's length by a known
amount, so the length stays exact.
"""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import IO
from urllib.parse import quote_plus, unquote_plus

from aiohttp import web

from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.body import check_length, read_pieces

_MEMORY_BYTES = 1024 * 1024
_PART_HEAD_BYTES = 16 * 1024
_VALUE_BYTES = 4 * 1024
_PIECE_BYTES = 256 * 1024
_MODEL = b"model"
_NAME = re.compile(
    rb"""(?i)^content-disposition:[ \t]*form-data\b[^\r\n]*?;[ \t]*name=("(?:[^"\\]|\\.)*"|[^\s;"]+)""", re.MULTILINE
)
_BOUNDARY = re.compile(r"""(?i);[ \t]*boundary=(?:"([^"]{1,70})"|([^\s;",]{1,70}))""")
_FILE = re.compile(rb"(?im)^content-disposition:[^\r\n]*?;[ \t]*filename\*?=")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form and its place in the body.

    Attributes:
        start, end: where its value lies.
        part_start, part_end: where its whole part lies, from its delimiter to the next one.
    """

    value: bytes
    start: int
    end: int
    part_start: int
    part_end: int


class FieldScanner:
    """Looks for fields in the bytes of a multipart body (RFC 7578) as they come; of each name the first counts.

    Attributes:
        fields: those that have been seen whole, by name.
        done: the rest is of no interest: it begins with a file, or there is none.
    """

    __slots__ = ("_buffer", "_delimiter", "_name", "_names", "_offset", "_part_start", "_start", "done", "fields")

    def __init__(self, boundary: bytes, names: Collection[bytes] = (_MODEL,)) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._names = names
        # The first delimiter has no CRLF before it where there is no preamble: pretend one.
        self._buffer = bytearray(b"\r\n")
        self._offset = -2
        self._name = b""
        self._start = self._part_start = 0
        self.fields: dict[bytes, Field] = {}
        self.done = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            RequestError: INVALID_REQUEST where the form is malformed.
        """
        if self.done:
            return
        self._buffer += data
        while not self.done and self._step():
            pass

    def _consume(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._offset += count
        return taken

    def _step(self) -> bool:
        """Go on to the next delimiter or through a part's head; whether it got further."""
        at = self._buffer.find(self._delimiter)
        if self._name:
            return self._step_field(at)
        if at < 0:
            del_count = max(0, len(self._buffer) - len(self._delimiter) + 1)
            self._offset += del_count
            del self._buffer[:del_count]
            return False
        self._offset += at
        del self._buffer[:at]
        return self._step_head()

    def _step_head(self) -> bool:
        """Read the head of the part that begins at the buffer's start."""
        after = len(self._delimiter)
        if self._buffer[after : after + 2] == b"--":
            self.done = True  # the end of the form
            return False
        end = self._buffer.find(b"\r\n\r\n", after)
        if end < 0:
            if len(self._buffer) > _PART_HEAD_BYTES:
                raise RequestError(Reason.INVALID_REQUEST, "a part of the form has too large a head")
            return False
        self._part_start = self._offset + 2  # the line break belongs to the part before
        head = self._consume(end + 4)
        name = _field_name(head)
        self._name = name if name in self._names and name not in self.fields else b""
        self._start = self._offset
        self.done = _MODEL in self.fields and _FILE.search(head) is not None
        return True

    def _step_field(self, at: int) -> bool:
        if at < 0:
            if len(self._buffer) > _VALUE_BYTES:
                name = self._name.decode()
                raise RequestError(Reason.INVALID_REQUEST, f"the form's `{name}` field is too long")
            return False
        end = self._offset + at
        self.fields[self._name] = Field(bytes(self._buffer[:at]), self._start, end, self._part_start, end + 2)
        self._name = b""
        return True


def _field_name(head: bytes) -> bytes:
    found = _NAME.search(head)
    if found is None or _FILE.search(head):
        return b""
    return found[1].strip(b'"')


class FormUpload:
    """A form whose model is known, and the rest of which may still be on its way.

    It is used as the body to send (a :class:`~llama_swap.proxy.exchange.BodySource`); :meth:`close` it afterwards.

    Attributes:
        model: the form's ``model`` field; None where it has none.
    """

    __slots__ = ("_edits", "_fields", "_head", "_length", "_pieces", "_whole", "model")

    def __init__(self, head: IO[bytes], scanner: FieldScanner, length: int | None) -> None:
        self._fields = scanner.fields
        self.model = self.text("model") or None
        self._head = head
        self._edits: dict[tuple[int, int], bytes] = {}
        self._length = length
        self._pieces: AsyncIterator[bytes] | None = None
        self._whole = False

    def text(self, name: str) -> str | None:
        """The value of a field; None where it was not found."""
        field = self._fields.get(name.encode())
        return None if field is None else field.value.decode("utf-8", "replace")

    def rename(self, model: str) -> None:
        """Send another value for the ``model`` field; nothing where there is none."""
        if self.model is not None:
            field = self._fields[_MODEL]
            self._edits[field.start, field.end] = model.encode()

    def remove(self, name: str) -> None:
        """Do not send a field that was found."""
        field = self._fields.get(name.encode())
        if field is not None:
            self._edits[field.part_start, field.part_end] = b""

    @property
    def length_bytes(self) -> int | None:
        """The length of what is sent; None where the client sent chunks."""
        if self._length is None:
            return None
        return self._length + sum(len(new) - (end - start) for (start, end), new in self._edits.items())

    @property
    def replayable(self) -> bool:
        """Whether all of it is kept, and so can be sent again."""
        return self._whole

    def attach(self, rest: AsyncIterator[bytes], *, whole: bool) -> None:
        """Say where the part that is not kept comes from."""
        self._pieces = rest
        self._whole = whole

    async def chunks(self) -> AsyncIterator[bytes]:
        """The form as it was changed."""
        position = 0
        self._head.seek(0)
        for (start, end), new in sorted(self._edits.items()):
            async for piece in self._kept(start - position):
                yield piece
            if new:
                yield new
            position = end
            self._head.seek(end)
        async for piece in self._kept(None):
            yield piece
        if self._pieces is not None and not self._whole:
            async for piece in self._pieces:
                yield piece

    async def _kept(self, count: int | None) -> AsyncIterator[bytes]:
        while count is None or count > 0:
            size = _PIECE_BYTES if count is None else min(count, _PIECE_BYTES)
            piece = await asyncio.to_thread(self._head.read, size) if self._on_disk() else self._head.read(size)
            if not piece:
                return
            if count is not None:
                count -= len(piece)
            yield piece

    def _on_disk(self) -> bool:
        return bool(getattr(self._head, "_rolled", True))

    def close(self) -> None:
        """Delete what was kept."""
        self._head.close()


async def read_form(
    request: web.BaseRequest, *, limit_bytes: int = 0, names: Collection[str] = ("model",)
) -> FormUpload:
    """Read a multipart/form-data body up to a file behind its ``model`` field, or to its end where there is none.

    Args:
        request: whose body it is.
        limit_bytes: the largest body; 0 is no limit.
        names: the fields to look for, ``model`` among them.

    Raises:
        RequestError: INVALID_REQUEST where it has no boundary, or is malformed up to there; BODY_TOO_LARGE.
    """
    check_length(request, limit_bytes)
    scanner = FieldScanner(_boundary(request), [name.encode() for name in names])
    # Closed by FormUpload.close; rolled over to disk when it grows.
    kept = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115
    pieces = read_pieces(request, limit_bytes=limit_bytes)
    size = 0
    try:
        async for piece in pieces:
            size += len(piece)
            # Only what goes to a disk is worth a thread.
            await asyncio.to_thread(kept.write, piece) if size > _MEMORY_BYTES else kept.write(piece)
            scanner.feed(piece)
            if scanner.done:
                break
    except BaseException:
        kept.close()
        raise
    form = FormUpload(kept, scanner, request.content_length)
    form.attach(pieces, whole=request.content.at_eof())
    return form


def _boundary(request: web.BaseRequest) -> bytes:
    found = _BOUNDARY.search(request.headers.get("Content-Type", ""))
    if found is None:
        raise RequestError(Reason.INVALID_REQUEST, "the form's Content-Type names no boundary")
    return (found[1] or found[2]).encode("utf-8", "surrogateescape")


def read_urlencoded(body: bytes, field: str) -> str | None:
    """The first value of a field of an ``application/x-www-form-urlencoded`` body; None where it has none."""
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        if unquote_plus(name.decode("latin-1")) == field:
            return unquote_plus(value.decode("latin-1"))
    return None


def rename_urlencoded(body: bytes, model: str) -> bytes:
    """The body with each ``model`` field's value replaced; all other bytes stay."""
    pairs = body.split(b"&")
    for index, pair in enumerate(pairs):
        name, _, _ = pair.partition(b"=")
        if unquote_plus(name.decode("latin-1")) == "model":
            pairs[index] = name + b"=" + quote_plus(model).encode()
    return b"&".join(pairs)


def remove_urlencoded(body: bytes, fields: Collection[str]) -> bytes:
    """The body without these fields; all other bytes stay."""
    pairs = body.split(b"&")
    return b"&".join(p for p in pairs if unquote_plus(p.partition(b"=")[0].decode("latin-1")) not in fields)
