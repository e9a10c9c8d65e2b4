"""Accept-Encoding of requests whose answers are read for usage."""

import pytest

from llama_swap.proxy.headers import readable_encodings


@pytest.mark.parametrize(
    ("offered", "passed"),
    [
        (b"gzip, deflate, br, zstd", b"gzip, deflate"),
        (b"br;q=1.0, GZIP;q=0.5", b"GZIP;q=0.5"),
        (b"br", b"identity"),
        (b"*", b"identity"),
        (b"", b"identity"),
    ],
)
def test_only_what_we_can_read_is_offered(offered, passed):
    """An answer in another coding would tell no tokens."""
    assert readable_encodings([(b"Accept-Encoding", offered)]) == [(b"Accept-Encoding", passed)]


def test_nothing_is_added_where_nothing_is_offered():
    """The client did not ask for compression, so neither do we; the headers are the same object."""
    headers = [(b"Host", b"h")]
    assert readable_encodings(headers) is headers
