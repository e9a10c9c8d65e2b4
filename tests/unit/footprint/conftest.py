"""GGUF files of any shape that take no room: a real header, and a hole where the weights would be."""

import os
import struct
from pathlib import Path

import pytest

from llama_swap.footprint.ggml_types import TYPES

F32, F16, Q8_0, Q4_K = 0, 1, 8, 12
_ALIGNMENT = 32


def _text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value):
    """A value with its type before it; a list is an array of the type of its first element."""
    if isinstance(value, bool):
        return struct.pack("<IB", 7, value)
    if isinstance(value, int):
        return struct.pack("<IQ", 10, value) if value > 0xFFFFFFFF else struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    kind = _value(value[0])[:4] if value else struct.pack("<I", 4)
    return struct.pack("<I", 9) + kind + struct.pack("<Q", len(value)) + b"".join(_value(one)[4:] for one in value)


def gguf_bytes(metadata, tensors=(), version=3):
    """The header, and how long the file is with its tensors, each ``(name, shape, type)``."""
    out = [b"GGUF", struct.pack("<IQQ", version, len(tensors), len(metadata))]
    out += [_text(key) + _value(value) for key, value in metadata.items()]
    offset = 0
    for name, shape, kind in tensors:
        out.append(_text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape) + struct.pack("<IQ", kind, offset))
        rows = 1
        for length in shape[1:]:
            rows *= length
        size = TYPES[kind].row_bytes(shape[0]) * rows if kind in TYPES else 1000
        offset += -(-size // _ALIGNMENT) * _ALIGNMENT
    header = b"".join(out)
    return header, -(-len(header) // _ALIGNMENT) * _ALIGNMENT + offset


def llama_metadata(architecture="llama", **changes):
    """The keys of Llama 3.1 8B, or others; with a double underscore for the dot in a key."""
    keys = {
        "block_count": 32,
        "context_length": 131072,
        "embedding_length": 4096,
        "feed_forward_length": 14336,
        "attention.head_count": 32,
        "attention.head_count_kv": 8,
        "vocab_size": 128256,
    } | {key.replace("__", "."): value for key, value in changes.items()}
    keys = {f"{architecture}.{key}": value for key, value in keys.items() if value is not None}
    return {"general.architecture": architecture, **keys}


def llama_tensors(layers=32, width=4096, feed_forward=14336, vocabulary=128256, kind=Q8_0, *, tied=False, experts=0):
    """Tensors in llama's names; what matters to memory is their sizes."""
    found = [("token_embd.weight", (width, vocabulary), kind), ("output_norm.weight", (width,), F32)]
    if not tied:
        found.append(("output.weight", (width, vocabulary), kind))
    for layer in range(layers):
        found.append((f"blk.{layer}.attn_q.weight", (width, width), kind))
        if experts:
            shape = (width, feed_forward, experts)
            found += [(f"blk.{layer}.ffn_{name}_exps.weight", shape, kind) for name in ("gate", "up", "down")]
        else:
            found += [
                (f"blk.{layer}.ffn_{name}.weight", (width, feed_forward), kind) for name in ("gate", "up", "down")
            ]
    return found


@pytest.fixture
def write_gguf(tmp_path):
    """``write_gguf(name, metadata, tensors)`` makes a file and returns its path."""

    def write(name="model.gguf", metadata=None, tensors=None) -> Path:
        header, size = gguf_bytes(
            llama_metadata() if metadata is None else metadata, llama_tensors() if tensors is None else tensors
        )
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(header)
        os.truncate(path, size)
        return path

    return write


@pytest.fixture
def server(tmp_path):
    """A program called llama-server in a folder of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "llama-server"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    return program
