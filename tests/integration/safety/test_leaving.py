"""Clients that are slow, stop reading, close one half or vanish: they cost the others nothing and leave nothing."""

import contextlib
import itertools
import os
import socket
import struct
from pathlib import Path

import pytest

BODY = b'{"model":"m","stream":true,"messages":[]}'
REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
UPLOAD = b"POST /upstream/m/x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nGET "
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"
MIB = 1024 * 1024
STAGES = {
    "nothing sent": b"",
    "half a head": REQUEST[:30],
    "a head without its body": REQUEST[:-5],
    "an upload cut short": UPLOAD,
    "a request": REQUEST,
    "two requests": REQUEST * 2,
    "no HTTP": b"\x16\x03\x01\x00\r\n\r\n",
    "a small request": b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n",
}
# Each takes some more bytes before it is whole.
SLOW = [b"GET / HTTP/1.1\r\nHost: h\r\nX: ", REQUEST.replace(b"Length: ", b"Length: 9")[:-5], UPLOAD]
DISCONNECTS = 10_000


def endless(request):
    """An upstream's answer: a stream that begins and never ends, else ``{}``."""
    return STREAM if b'"stream":true' in request.body else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def endless_streams(recorded, recorder):
    """The service, whose upstream begins streams and does not end them."""
    recorder.answers = endless
    assert recorded.chat("m").status_code == 200
    return recorded


def descriptors(service):
    """How many files and sockets the service has open."""
    return len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))


def resident_bytes(service):
    """The memory of the service."""
    return int(Path(f"/proc/{service.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def is_idle(service):
    """Whether no request is in service or on its way."""
    rows = service.http.get("/api/status").json()["models"]
    return not service.http.get("/api/inflight").json()["requests"] and not any(r.get("in_service") for r in rows)


def test_half_closed(endless_streams, wire):
    """Whoever closes the sending side has left at any stage: its request ends, and its connection."""
    for name, data in STAGES.items():
        received = wire.tell(data, hangs_up=True)
        assert received.count(b"HTTP/1.1 ") <= 2, name
        endless_streams.wait_until(lambda: is_idle(endless_streams))


def vanish(wire, data, *, reads, resets):
    """Send some bytes and close, perhaps after the first bytes of an answer, perhaps with a reset."""
    with wire.connect() as connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(data)
        if reads:
            connection.recv(10)
        if resets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.slow
def test_ten_thousand_quick_disconnects(endless_streams, wire):
    """No descriptor, no lease, no request in flight is left of them, little memory, and no task that delays the end."""
    service = endless_streams
    answered = {REQUEST, REQUEST * 2, STAGES["a small request"]}
    kinds = list(itertools.product(STAGES.values(), [False, True]))
    kinds += [(data, "reads") for data in answered] * 2
    service.wait_until(lambda: is_idle(service))
    before = descriptors(service)
    for number in range(DISCONNECTS):
        data, how = kinds[number % len(kinds)]
        vanish(wire, data, reads=how == "reads", resets=bool(how))
        if number == DISCONNECTS // 5:
            warm = resident_bytes(service)
    service.wait_until(lambda: is_idle(service))
    # Connections to the upstream that could be used again are kept for some seconds.
    service.wait_until(lambda: descriptors(service) <= before)
    assert resident_bytes(service) - warm <= 16 * MIB
    assert service.chat("m").status_code == 200
    assert "Traceback" not in service.output()
    # A handler that hangs would be waited for until the budget of 30 s is used up.
    assert service.stop() == 0
    assert "did not end" not in service.output()


def test_slow_clients_cost_the_others_nothing(endless_streams, wire):
    """Hundreds that have sent a part of a head, of a body or of an upload, and wait."""
    service = endless_streams
    before = descriptors(service)
    with contextlib.ExitStack() as connections:
        slow = [connections.enter_context(wire.connect()) for _ in range(300)]
        for number, connection in enumerate(slow):
            connection.sendall(SLOW[number % len(SLOW)])
        service.wait_until(lambda: descriptors(service) >= before + len(slow))
        for _ in range(20):
            assert service.chat("m").status_code == 200
            for connection in slow:
                connection.sendall(b"a")
    service.wait_until(lambda: is_idle(service))
    service.wait_until(lambda: descriptors(service) <= before)


def test_stalled_readers_cost_the_others_nothing(recorded, recorder, wire):
    """Who does not read leaves the answer with the upstream: others are served, and little memory is taken."""
    service = recorded
    big = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (32 * MIB, bytes(32 * MIB))
    recorder.answers = lambda request: big if request.target == b"/big" else endless(request)
    assert service.chat("m").status_code == 200
    before = resident_bytes(service)
    with contextlib.ExitStack() as connections:
        for _ in range(32):
            connection = connections.enter_context(wire.connect())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /upstream/m/big HTTP/1.1\r\nHost: h\r\n\r\n")
        service.wait_until(lambda: sum(request.target == b"/big" for request in recorder.requests) == 32)
        for _ in range(20):
            assert service.chat("m").status_code == 200
        assert resident_bytes(service) - before <= 32 * MIB
    service.wait_until(lambda: is_idle(service))
