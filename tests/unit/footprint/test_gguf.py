"""The reader of GGUF headers: what it reads, and that nothing at all can make it do anything else than refuse."""

import io
import os
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.footprint.gguf import (
    KEPT_TEXT_BYTES,
    MAX_READ_BYTES,
    MAX_STRINGS,
    GgufError,
    read_gguf,
    read_header,
)

from .conftest import F32, Q4_K, Q8_0, gguf_bytes

METADATA = {
    "general.architecture": "llama",
    "llama.block_count": 3,
    "llama.attention.head_count_kv": [8, 0, 4],
    "llama.big": 1 << 40,
    "llama.scale": 0.5,
    "llama.is_it": True,
    "tokenizer.ggml.tokens": ["a", "", "lang"],
}
TENSORS = [("token_embd.weight", (256, 10), Q8_0), ("blk.0.attn_q.weight", (256, 4, 2), Q4_K), ("norm", (3,), F32)]


def header_of(data, size=None):
    """Read bytes as a file of that size."""
    return read_header(io.BytesIO(data), len(data) if size is None else size)


def test_a_file_is_read():
    """Numbers, texts, truth and lists; arrays of texts only by their length; tensors by their size."""
    header, size = gguf_bytes(METADATA, TENSORS)
    found = header_of(header, size)
    assert dict(found.metadata) == {
        "general.architecture": "llama",
        "llama.block_count": 3,
        "llama.attention.head_count_kv": (8, 0, 4),
        "llama.big": 1 << 40,
        "llama.scale": 0.5,
        "llama.is_it": True,
    }
    assert dict(found.lengths) == {"llama.attention.head_count_kv": 3, "tokenizer.ggml.tokens": 3}
    assert [(one.name, one.bytes) for one in found.tensors] == [
        ("token_embd.weight", 256 // 32 * 34 * 10),
        ("blk.0.attn_q.weight", 144 * 8),
        ("norm", 12),
    ]


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (0, b"\xff", 255),
        (1, b"\xff", -1),
        (2, b"\x01\x02", 0x201),
        (3, b"\xfe\xff", -2),
        (4, b"\x01\x00\x00\x80", 0x80000001),
        (5, b"\xff\xff\xff\xff", -1),
        (6, struct.pack("<f", 1.5), 1.5),
        (7, b"\x01", True),
        (10, b"\x01" + bytes(6) + b"\x80", 0x8000000000000001),
        (11, b"\xff" * 8, -1),
        (12, struct.pack("<d", 2.5), 2.5),
    ],
)
def test_every_kind_of_number_is_read(kind, raw, value):
    """Alone and in a list; the next key follows at once."""
    start = b"GGUF" + struct.pack("<IQQ", 3, 0, 3)
    one = struct.pack("<Q", 1) + b"a" + struct.pack("<I", kind) + raw
    two = struct.pack("<Q", 1) + b"b" + struct.pack("<IIQ", 9, kind, 2) + raw * 2
    last = struct.pack("<Q", 1) + b"c" + struct.pack("<IB", 7, 1)
    found = header_of(start + one + two + last + bytes(32)).metadata
    assert dict(found) == {"a": value, "b": (value, value), "c": True}
    assert type(found["a"]) is type(value)


def test_what_the_gguf_package_writes_is_read(tmp_path):
    """Another program's files, not only those of these tests."""
    gguf = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "qwen3")
    writer.add_block_count(2)
    writer.add_head_count_kv([4, 8])
    writer.add_token_list([f"t{n}" for n in range(5000)])
    writer.add_chat_template("x" * 100_000)
    writer.add_tensor("blk.0.attn_q.weight", numpy.zeros((8, 64), dtype=numpy.float16))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    found = read_gguf(tmp_path / "x.gguf")
    assert found.metadata["qwen3.attention.head_count_kv"] == (4, 8)
    assert found.lengths["tokenizer.ggml.tokens"] == 5000
    assert "tokenizer.chat_template" not in found.metadata
    assert [(one.name, one.bytes) for one in found.tensors] == [("blk.0.attn_q.weight", 1024)]


def test_a_tensor_of_a_new_type_is_measured_by_the_next_one():
    """A quantisation that is not known here has at most the gap after it."""
    header, size = gguf_bytes({}, [("a", (4,), F32), ("new", (64,), 250), ("b", (4,), F32)])
    assert [one.bytes for one in header_of(header, size).tensors] == [16, 1024, 16]


def test_long_texts_are_passed_over():
    """A chat template is not needed, and might be anything."""
    header, size = gguf_bytes({"long": "x" * (KEPT_TEXT_BYTES + 1), "short": "y"})
    assert dict(header_of(header, size).metadata) == {"short": "y"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cut short"),
        (b"GGUX" + bytes(100), "does not begin"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "version 50331648"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 63, 0), "tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 17), "keys"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62), "bytes in a name"),
        (gguf_bytes({"a": 1})[0][:-1], "cut short"),
        (gguf_bytes({"general.alignment": 3})[0] + bytes(64), "alignment of 3"),
        (gguf_bytes({"general.alignment": 1 << 30})[0] + bytes(64), "alignment"),
        (gguf_bytes({"general.alignment": "x"})[0] + bytes(64), "alignment"),
    ],
)
def test_damage_is_told(data, words):
    """What is wrong, and where."""
    with pytest.raises(GgufError, match=words) as refusal:
        header_of(data)
    assert "at byte" in str(refusal.value)


def _with_value(raw):
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + raw + bytes(64)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (struct.pack("<I", 13), "unknown type 13"),
        (struct.pack("<IIQ", 9, 9, 1), "arrays in the array"),
        (struct.pack("<IIQ", 9, 99, 1), "unknown type 99"),
        (struct.pack("<IIQ", 9, 4, 1 << 60), "cut short or damaged"),
        (struct.pack("<IIQ", 9, 8, MAX_STRINGS + 1), "texts"),
        (struct.pack("<IQ", 8, 1 << 63), "cut short or damaged"),
    ],
)
def test_values_that_lie_are_refused(raw, words):
    """No length is believed before it is compared with the file."""
    with pytest.raises(GgufError, match=words):
        header_of(_with_value(raw))


def test_a_key_comes_once():
    """As llama.cpp has it; which of the two holds would be a guess."""
    data = gguf_bytes({"a": 1, "b": 2})[0].replace(b"b", b"a")
    with pytest.raises(GgufError, match="twice"):
        header_of(data)


def test_a_tensor_lies_within_the_file():
    """The lesson of CVE-2026-7482: a size that the file does not have; and a download that was cut off."""
    header, size = gguf_bytes(METADATA, [("a", (8,), F32), ("b", (8,), F32)])
    assert [one.bytes for one in header_of(header, size).tensors] == [32, 32]
    with pytest.raises(GgufError, match="ends after the file"):
        header_of(header, size - 1)


def test_tensors_do_not_overlap():
    """Thousands of names for the same bytes would otherwise be a model of any size."""
    one = struct.pack("<Q", 1) + b"t" + struct.pack("<IQIQ", 1, 1024, 0, 0)
    data = b"GGUF" + struct.pack("<IQQ", 3, 2, 0) + one + one.replace(b"t", b"u")
    with pytest.raises(GgufError, match="overlap"):
        header_of(data, len(data) + 5000)


def test_a_tensor_has_few_dimensions():
    """Four in ggml."""
    data = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 1) + b"t" + struct.pack("<I", 5) + bytes(100)
    with pytest.raises(GgufError, match="5 dimensions"):
        header_of(data)


def test_sizes_are_whole_numbers_of_any_length():
    """The lesson of CVE-2025-53630: a product that overflows in C is just too large here."""
    shape = struct.pack("<I4QIQ", 4, *[1 << 62] * 4, 0, 0)
    data = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 1) + b"t" + shape
    with pytest.raises(GgufError, match="ends after the file"):
        header_of(data, 1 << 40)


def test_a_pipe_is_no_model(tmp_path):
    """Opening it must not wait for a writer."""
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(GgufError, match="no regular file"):
        read_gguf(tmp_path / "pipe.gguf")


def test_a_missing_file_is_told(tmp_path):
    """As an error of this reader, whatever the reason."""
    with pytest.raises(GgufError, match="cannot be read"):
        read_gguf(tmp_path / "none.gguf")
    with pytest.raises(GgufError, match="cannot be read"):
        read_gguf(tmp_path)


def test_a_file_without_tensors_is_read():
    """A vocabulary alone, or the first part of a split model."""
    assert header_of(gguf_bytes({"a": 1})[0] + bytes(64)).tensors == ()


class _Endless(io.RawIOBase):
    """A header of keys without end, which says how much of it was read."""

    def __init__(self):
        key = struct.pack("<Q", 1000) + b"k" * 1000 + struct.pack("<IQ", 8, 4000) + b"v" * 4000
        self._key = key
        self.read_bytes = 0
        self._at = 0

    def seek(self, offset, whence=0):
        self._at = offset
        return offset

    def read(self, size=-1):
        self.read_bytes += size
        start = b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 16)
        data = bytearray()
        at = self._at
        while len(data) < size:
            if at < len(start):
                data += start[at:]
                at = len(start)
            else:
                number, inside = divmod(at - len(start), len(self._key))
                key = bytearray(self._key)
                key[8:16] = f"{number:08}".encode()
                data += key[inside:]
                at += len(key) - inside
        return bytes(data[:size])


def test_reading_and_memory_are_bounded():
    """A header of 300 MB is left after 64, and hardly any of it is kept."""
    file = _Endless()
    tracemalloc.start()
    try:
        with pytest.raises(GgufError, match="more than 64 MiB"):
            read_header(file, 1 << 40)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file.read_bytes <= MAX_READ_BYTES
    assert peak < 64 << 20


_NUMBERS = st.one_of(st.integers(0, 13), st.sampled_from([31, 255, 1 << 16, 1 << 31, 1 << 62, (1 << 64) - 1]))
_PIECES = st.one_of(
    st.binary(max_size=9),
    _NUMBERS.map(lambda number: struct.pack("<Q", number)),
    _NUMBERS.map(lambda number: struct.pack("<I", number & 0xFFFFFFFF)),
    st.binary(max_size=5).map(lambda name: struct.pack("<Q", len(name)) + name),
)


@given(st.integers(0, 3), st.integers(0, 3), st.lists(_PIECES, max_size=40).map(b"".join))
def test_any_bytes_end_in_a_header_or_an_error(tensors, keys, data):
    """After the beginning of a real file, so that most get further than the first four bytes."""
    for start in (b"", b"GGUF" + struct.pack("<IQQ", 3, tensors, keys)):
        try:
            found = header_of(start + data)
        except GgufError:
            continue
        assert sum(one.bytes for one in found.tensors) <= len(start + data)


@given(st.data())
def test_any_damage_ends_in_a_header_or_an_error(data):
    """Bytes changed, cut out and put in anywhere in a sound file."""
    header, size = gguf_bytes(METADATA, TENSORS)
    changed = bytearray(header + bytes(size - len(header)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(header) - 1))
        length = data.draw(st.integers(0, 9))
        changed[at : at + length] = data.draw(st.binary(max_size=9))
    try:
        found = header_of(bytes(changed))
    except GgufError:
        return
    assert sum(one.bytes for one in found.tensors) <= len(changed)
    assert all(one.bytes >= 0 for one in found.tensors)
