"""The client that asks the check endpoint, against servers that behave as servers do."""

import asyncio
import ssl
import subprocess
from contextlib import asynccontextmanager, closing, suppress

import pytest

from llama_swap.process.probe import HttpProbe

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOADING = b"HTTP/1.1 503 Loading\r\nContent-Length: 4\r\n\r\nwait"


@pytest.fixture
def serve():
    """A server that gives its answers one after the other; records requests and connections."""

    @asynccontextmanager
    async def serve(*answers, host="127.0.0.1", close=False, tls=None):
        left = list(answers)
        seen = []

        async def talk(reader, writer):
            seen.append(b"connected")
            with closing(writer), suppress(EOFError, OSError):
                while left:
                    seen.append(await reader.readuntil(b"\r\n\r\n"))
                    writer.write(left.pop(0))
                    if close:
                        break

        async with await asyncio.start_server(talk, host, 0, ssl=tls) as server:
            yield server.sockets[0].getsockname()[1], seen

    return serve


async def ask(port, *, times=1, endpoint="/health", base="http://127.0.0.1:{}"):
    """The statuses of some probes by one client."""
    probe = HttpProbe(base.format(port), endpoint)
    try:
        return [await probe.ask() for _ in range(times)]
    finally:
        probe.close()


async def test_the_status_is_the_answer(serve):
    """Loading, loading, ready; over one connection."""
    async with serve(LOADING, LOADING, OK) as (port, seen):
        assert await ask(port, times=3) == [503, 503, 200]
    assert seen.count(b"connected") == 1


@pytest.mark.parametrize(
    ("base", "endpoint", "target"),
    [
        ("http://127.0.0.1:{}", "/health", "/health"),
        ("http://127.0.0.1:{}/", "are/you/ok", "/are/you/ok"),
        ("http://127.0.0.1:{}/prefix", "/health?deep=1&x=%2F", "/prefix/health?deep=1&x=%2F"),
        ("http://127.0.0.1:{}", "/", "/"),
    ],
)
async def test_where_it_asks(serve, base, endpoint, target):
    """Base URL and endpoint are joined, with or without slashes; the query survives."""
    async with serve(OK) as (port, seen):
        assert await ask(port, base=base, endpoint=endpoint) == [200]
    first, host, *_ = seen[1].decode().split("\r\n")
    assert first == f"GET {target} HTTP/1.1"
    assert host == f"Host: 127.0.0.1:{port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_localhost_is_both_loopback_addresses(serve, host):
    """Some servers listen on one of them alone."""
    async with serve(OK, host=host) as (port, _):
        assert await ask(port, base="http://localhost:{}") == [200]


async def test_a_kept_connection_that_the_server_closed_is_no_answer_lost(serve):
    """The server may close it between two probes without a word."""
    async with serve(LOADING, OK, close=True) as (port, seen):
        assert await ask(port, times=2) == [503, 200]
    assert seen.count(b"connected") == 2


async def test_nobody_listens():
    """A refused connection is no answer, and nobody has connected."""
    probe = HttpProbe("http://localhost:1", "/health")
    assert await probe.ask() is None
    assert not probe.has_connected


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"x" * 70_000]
)
async def test_what_is_not_http_is_no_answer(serve, answer):
    """But something is there."""
    async with serve(answer, answer, close=True) as (port, _):
        probe = HttpProbe(f"http://127.0.0.1:{port}", "/health")
        assert await probe.ask() is None
        assert probe.has_connected
        probe.close()


async def test_interim_answers_are_skipped(serve):
    """100 and 103 come before the answer."""
    async with serve(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK) as (port, _):
        assert await ask(port) == [200]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_followed(serve, status):
    """``checkEndpoint: /`` of a server that redirects to its user interface."""
    answer = b"HTTP/1.1 %d Moved\r\nLocation: /ui/?a=b\r\nContent-Length: 0\r\n\r\n" % status
    async with serve(answer, OK) as (port, seen):
        assert await ask(port) == [200]
    assert seen[2].startswith(b"GET /ui/?a=b ")


async def test_redirects_do_not_lead_elsewhere_or_for_ever(serve):
    """Another server's answer says nothing about this one."""
    away = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    circle = b"HTTP/1.1 302 Found\r\nLocation: /health\r\nContent-Length: 0\r\n\r\n"
    async with serve(away) as (port, _):
        assert await ask(port) == [302]
    async with serve(*[circle] * 9) as (port, _):
        assert await ask(port) == [None]


async def test_a_chunked_or_endless_body_is_not_read(serve):
    """The status is all that matters; the connection is dropped."""
    head = b"HTTP/1.1 500 Error\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serve(head, OK) as (port, seen):
        assert await ask(port, times=2) == [500, 200]
    assert seen.count(b"connected") == 2


@pytest.fixture
def self_signed(tmp_path):
    """The TLS settings of a server with a certificate that it has signed itself."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    try:
        subprocess.run(
            [*command, "-subj", "/CN=nobody", "-keyout", key, "-out", certificate], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("no openssl here")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return tls


async def test_a_local_https_server_needs_no_certificate_that_anybody_signed(serve, self_signed):
    """Self-signed is the norm on this machine."""
    async with serve(OK, tls=self_signed) as (port, _):
        assert await ask(port, base="https://localhost:{}") == [200]
