"""A reader of the header of a GGUF file (versions 2 and 3) that trusts nothing in it.

The file may be half downloaded, damaged or made to do harm, and the reader runs in the process that has the keys. So:
it never reads more than ``MAX_READ_BYTES``; every length and count is compared with a limit and with the size of the
file before anything is made of it; long texts and arrays are passed over instead of kept; nothing recurses; a tensor
must lie within the file. Whatever the bytes are, the result is a :class:`Header` or a :class:`GgufError`.
The format: ggml/docs/gguf.md of llama.cpp.
"""

import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llama_swap.footprint.ggml_types import TYPES

MAX_READ_BYTES = 64 << 20
MAX_KEYS = 1 << 16
MAX_TENSORS = 1 << 17
MAX_STRINGS = 4 << 20
MAX_NAME_BYTES = 1024
KEPT_TEXT_BYTES = 4096
KEPT_ARRAY_LENGTH = 2048
KEPT_BYTES = 4 << 20

_MAGIC = b"GGUF"
_VERSIONS = {2, 3}
_DIMENSIONS = 4
_ALIGNMENT = 32
_MAX_ALIGNMENT = 1 << 20
_TEXT, _ARRAY, _BOOL = 8, 9, 7
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
_WINDOW_BYTES = 1 << 20

Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...]


class GgufError(Exception):
    """The file is not what this reader understands; says what is wrong and at which byte."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: its name and how many bytes of the file it has."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says about itself.

    Attributes:
        metadata: key -> value; texts over ``KEPT_TEXT_BYTES``, long arrays, arrays of texts and what comes after
            ``KEPT_BYTES`` of values are not among them.
        lengths: key -> number of elements, of every array.
    """

    metadata: Mapping[str, Value]
    lengths: Mapping[str, int]
    tensors: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor lies: bytes from the start of the data; None for the size of a type that is not known."""

    name: str
    offset: int
    bytes: int | None


def read_gguf(path: Path) -> Header:
    """Read the header of a file.

    Raises:
        GgufError: if it cannot be read, is no regular file, or is not a sound GGUF file.
    """
    try:
        # A pipe that nobody writes to would hold us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - of a descriptor
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise GgufError(f"{path} is no regular file")
            return read_header(file, status.st_size)
    except OSError as error:
        raise GgufError(f"{path} cannot be read: {error.strerror}") from error


def read_header(file: BinaryIO, size: int) -> Header:
    """Read the header at the start of a file of ``size`` bytes.

    Raises:
        GgufError: see above.
        OSError: if reading fails.
    """
    source = _Source(file, size)
    if source.take(4) != _MAGIC:
        raise source.error("does not begin as a GGUF file")
    version = source.number("<I")
    if version not in _VERSIONS:
        raise source.error(f"has version {version} of the format; 2 and 3 are known")
    tensors = source.count(MAX_TENSORS, "tensors")
    keys = source.count(MAX_KEYS, "keys")
    metadata: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    for _ in range(keys):
        _read_pair(source, metadata, lengths)
    alignment = metadata.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
        raise source.error(f"has an alignment of {alignment}")
    places = [_read_place(source) for _ in range(tensors)]
    start = -(-source.position // alignment) * alignment
    return Header(metadata, lengths, _measured(places, size - start, source))


class _Source:
    """The bytes of the file in order, behind a window of bounded size."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._window = b""
        self._window_start = 0
        self._used = 0
        self._strings_left = MAX_STRINGS
        self._kept_left = KEPT_BYTES
        self.position = 0

    def error(self, what: str) -> GgufError:
        return GgufError(f"{what} (at byte {self.position})")

    def take(self, length: int) -> bytes:
        """The next bytes."""
        offset = self.position - self._window_start
        if not 0 <= offset <= len(self._window) - length:
            self._load(length)
            offset = 0
        self.position += length
        return self._window[offset : offset + length]

    def number(self, form: str) -> int:
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return int(value)

    def count(self, limit: int, what: str) -> int:
        """A 64-bit number of things, each of which takes at least a byte of the file."""
        found = self.number("<Q")
        if found > limit or found > self._size:
            raise self.error(f"says it has {found} {what}; at most {limit} are read")
        return found

    def skip(self, length: int) -> None:
        if length > self._size - self.position:
            raise self.error(f"is cut short or damaged: {length} bytes should follow")
        self.position += length

    def keeps(self, length: int, limit: int) -> bool:
        """Whether a value of this size is worth its memory; if so, that memory counts as taken."""
        if length > min(limit, self._kept_left):
            return False
        self._kept_left -= length
        return True

    def skip_texts(self, count: int) -> None:
        """Pass over an array of texts, of which a vocabulary has some 100 000."""
        self._strings_left -= count
        if self._strings_left < 0:
            raise self.error(f"has more than {MAX_STRINGS} texts")
        for _ in range(count):
            offset = self.position - self._window_start
            if not 0 <= offset <= len(self._window) - 8:
                self._load(8)
                offset = 0
            (length,) = _LENGTH.unpack_from(self._window, offset)
            self.position += 8
            self.skip(length)

    def _load(self, length: int) -> None:
        """Move the window to the current position."""
        if length > self._size - self.position:
            raise self.error("is cut short")
        wanted = min(max(length, _WINDOW_BYTES), self._size - self.position)
        self._used += wanted
        if self._used > MAX_READ_BYTES:
            raise self.error(f"has a header of more than {MAX_READ_BYTES >> 20} MiB")
        self._file.seek(self.position)
        self._window = self._file.read(wanted)
        self._window_start = self.position
        if len(self._window) < length:
            raise self.error("became shorter while it was read")


_LENGTH = struct.Struct("<Q")


def _read_text(source: _Source, limit: int) -> str:
    """A text of bounded length; bytes that are no UTF-8 are replaced, as nothing here depends on them."""
    length = source.count(limit, "bytes in a name")
    return source.take(length).decode("utf-8", "replace")


def _read_pair(source: _Source, metadata: dict[str, Value], lengths: dict[str, int]) -> None:
    key = _read_text(source, MAX_NAME_BYTES)
    if key in metadata or key in lengths:
        raise source.error(f"has the key {key!r} twice")
    kind = source.number("<I")
    if kind == _ARRAY:
        values, lengths[key] = _read_array(source, key)
        if values is not None:
            metadata[key] = values
    elif kind == _TEXT:
        length = source.number("<Q")
        if source.keeps(length, KEPT_TEXT_BYTES):
            metadata[key] = source.take(length).decode("utf-8", "replace")
        else:
            source.skip(length)
    else:
        metadata[key] = _read_scalars(source, kind, 1, key)[0]


def _read_array(source: _Source, key: str) -> tuple[tuple[Scalar, ...] | None, int]:
    """The values (None where they are not kept) and their number."""
    kind = source.number("<I")
    length = source.number("<Q")
    if kind == _ARRAY:
        raise source.error(f"has arrays in the array {key!r}, which llama.cpp does not know either")
    if kind == _TEXT:
        source.skip_texts(length)
        return None, length
    size = length * struct.calcsize(_form(source, kind, key))
    if length <= KEPT_ARRAY_LENGTH and source.keeps(size, KEPT_BYTES):
        return _read_scalars(source, kind, length, key), length
    source.skip(size)
    return None, length


def _read_scalars(source: _Source, kind: int, count: int, key: str) -> tuple[Scalar, ...]:
    form = _form(source, kind, key)
    data = source.take(count * struct.calcsize(form))
    values: tuple[Scalar, ...] = struct.unpack(f"<{count}{form[1]}", data)
    return tuple(bool(value) for value in values) if kind == _BOOL else values


def _form(source: _Source, kind: int, key: str) -> str:
    form = _SCALARS.get(kind)
    if form is None:
        raise source.error(f"has a value of the unknown type {kind} under {key!r}")
    return form


def _read_place(source: _Source) -> _Place:
    name = _read_text(source, MAX_NAME_BYTES)
    dimensions = source.number("<I")
    if dimensions > _DIMENSIONS:
        raise source.error(f"has a tensor {name!r} of {dimensions} dimensions")
    shape = [source.number("<Q") for _ in range(dimensions)]
    kind = TYPES.get(source.number("<I"))
    offset = source.number("<Q")
    if kind is None:
        return _Place(name, offset, None)
    rows = 1
    for length in shape[1:]:
        rows *= length
    return _Place(name, offset, kind.row_bytes(shape[0] if shape else 1) * rows)


def _measured(places: list[_Place], available: int, source: _Source) -> tuple[Tensor, ...]:
    """Every tensor with its size, once it is certain that all of them lie within the data."""
    starts = sorted({place.offset for place in places})
    nexts = dict(zip(starts, [*starts[1:], max(available, 0)], strict=False))
    found = []
    for place in places:
        size = nexts[place.offset] - place.offset if place.bytes is None else place.bytes
        if size < 0 or place.offset + size > available:
            raise source.error(f"is cut short or damaged: the tensor {place.name!r} ends after the file")
        found.append(Tensor(place.name, size))
    if sum(tensor.bytes for tensor in found) > available:
        raise source.error("is damaged: its tensors overlap")
    return tuple(found)
