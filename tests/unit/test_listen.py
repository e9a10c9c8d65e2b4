"""Addresses to sockets and back, and HTTPS."""

import resource
import socket

import pytest

from llama_swap.listen import address_text, bind, is_local, raise_descriptor_limit, tls_context


@pytest.mark.parametrize(
    ("listen", "local"),
    [("127.0.0.1:0", True), ("localhost:0", True), ("[::1]:0", True), (":0", False), ("0.0.0.0:0", False)],
)
def test_addresses_as_llama_swap_writes_them(listen, local):
    """A host and a port, a bracketed IPv6 address, or a port alone for every interface."""
    sockets = bind(listen)
    try:
        assert sockets
        assert all(is_local(listener) is local for listener in sockets)
        assert all(address_text(listener).startswith("http://") for listener in sockets)
    finally:
        for listener in sockets:
            listener.close()


@pytest.mark.parametrize("listen", ["8080", "localhost", "localhost:http", ""])
def test_address_without_a_port_says_how_to_write_one(listen):
    """The error shows the form."""
    with pytest.raises(ValueError, match="host:port"):
        bind(listen)


def test_taken_port_is_an_oserror():
    """The caller tells the user which address it was."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        bind(f"127.0.0.1:{taken.getsockname()[1]}")


def test_half_a_tls_pair_is_an_error(tmp_path):
    """Both files or none."""
    assert tls_context(None, None) is None
    with pytest.raises(ValueError, match="both"):
        tls_context(tmp_path / "cert.pem", None)


def test_descriptor_limit_is_raised_to_what_is_allowed():
    """Never lowered, never above the hard limit."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        limit = raise_descriptor_limit()
        after = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert after[0] >= before
        assert limit == after[0]
        assert after[1] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
