"""How a server is reached: addresses, ports, and who needs a certificate."""

import ssl
from urllib.parse import urlsplit

import pytest

from llama_swap import dial


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", ("127.0.0.1", "::1")), ("127.0.0.1", ("127.0.0.1",)), ("gpu.lan", ("gpu.lan",))],
)
def test_localhost_is_both_loopbacks_by_number(host, expected):
    """The other names are for the resolver."""
    assert dial.addresses(host) == expected


@pytest.mark.parametrize(
    ("url", "expected"), [("http://a", 80), ("https://a", 443), ("https://a:80", 80), ("http://[::1]:9", 9)]
)
def test_a_port_or_that_of_the_scheme(url, expected):
    """As browsers take it."""
    assert dial.port(urlsplit(url)) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:81/x", 81),
        ("http://127.0.0.2:82", 82),
        ("http://[::1]:83", 83),
        ("http://localhost", None),
        ("http://10.0.0.1:84", None),
        ("http://gpu.lan:85", None),
    ],
)
def test_ports_of_this_machine(url, expected):
    """Those that are written in the URL of a loopback."""
    assert dial.local_port(urlsplit(url)) == expected


@pytest.mark.parametrize("host", ["example.com", "10.0.0.1", "[fe80::1]", "localhost.example.com"])
def test_elsewhere_is_verified(host):
    """Only loopback is exempt."""
    tls = dial.tls(urlsplit(f"https://{host}"))
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "[::1]"])
def test_loopback_is_not_verified(host):
    """By name, and by number in both families."""
    assert dial.tls(urlsplit(f"https://{host}")).verify_mode is ssl.CERT_NONE


def test_plain_http_has_no_tls():
    """Nothing to check."""
    assert dial.tls(urlsplit("http://example.com")) is None
