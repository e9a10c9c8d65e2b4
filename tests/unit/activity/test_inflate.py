"""Content codings."""

import gzip
import zlib

import pytest

from llama_swap.activity.inflate import inflate

TEXT = b'{"usage": {"prompt_tokens": 3}}' * 50


def _raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT)),
        (" GZIP ", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", _raw_deflate(TEXT)),
    ],
    ids=["none", "identity", "gzip", "spelled out", "x-gzip", "zlib", "raw deflate"],
)
def test_every_coding_that_servers_send(encoding, body):
    """gzip, and deflate with and without zlib's header, give the text."""
    assert inflate(body, encoding) == TEXT


def test_a_cut_body_gives_its_beginning():
    """What was not kept takes nothing from what was."""
    body = gzip.compress(bytes(range(256)) * 200, compresslevel=0)
    assert inflate(body[:5000], "gzip")[:256] == bytes(range(256))


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", b"no"), ("deflate", b"\xff\xff\xff"), ("br", b"x"), ("zstd", b"x")]
)
def test_what_cannot_be_read_is_none(encoding, body):
    """Broken and unknown codings are told apart from an empty body."""
    assert inflate(body, encoding) is None


def test_a_bomb_stops_at_the_limit():
    """Nobody fills the memory with a few kilobytes."""
    assert len(inflate(gzip.compress(bytes(10_000_000)), "gzip", limit_bytes=1000)) == 1000
