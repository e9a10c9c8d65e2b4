"""Many large bodies at once: one that passes is never held, one that must be read for its model is held once."""

import contextlib
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

MIB = 1024 * 1024
CLIENTS = 64
SIZE = 20 * MIB
BODY = b'{"model":"m","text":"' + b"a" * (SIZE - 23) + b'"}'
DEADLINE_SECONDS = 180
NEEDED_BYTES = 4 * 1024 * MIB
# What the allocator keeps of freed memory (tune_malloc), and the buffers of the connections.
KEPT = 64 * MIB
BUFFERS = CLIENTS * MIB


class Sink:
    """An upstream that takes bodies and answers when all of them are there.

    Attributes:
        taking: unless it is set, bodies are left with the service.
        asked: how many requests have come.
    """

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=CLIENTS)
        self.taking = threading.Event()
        self.taken = threading.Barrier(CLIENTS + 1)
        self.answering = threading.Event()
        self.asked = 0

    def accept(self):
        """Serve until the listener is closed."""
        with contextlib.suppress(OSError), ThreadPoolExecutor(CLIENTS) as threads:
            while True:
                threads.submit(self._serve, self.listener.accept()[0])

    def _serve(self, connection):
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1024)
            self.asked += 1
            assert self.taking.wait(DEADLINE_SECONDS)
            left = SIZE - len(head.partition(b"\r\n\r\n")[2])
            while left:
                left -= len(connection.recv(MIB))
            self.taken.wait(DEADLINE_SECONDS)
            assert self.answering.wait(DEADLINE_SECONDS)
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")


@pytest.fixture
def sink():
    """An upstream for the model of the service."""
    running = Sink()
    accepting = threading.Thread(target=running.accept)
    accepting.start()
    yield running
    running.listener.shutdown(socket.SHUT_RDWR)
    running.listener.close()
    accepting.join(DEADLINE_SECONDS)


@pytest.fixture
def sinking(service, sink):
    """The service with that upstream."""
    proxy = f"http://127.0.0.1:{sink.listener.getsockname()[1]}"
    service.write({"models": {"m": {"cmd": "sleep 1000", "proxy": proxy, "checkEndpoint": "none"}}})
    service.start()
    assert service.http.post("/api/models/load/m").status_code == 200
    return service


def memory_bytes(service, field):
    """A figure of /proc/PID/status: VmRSS now, VmHWM at its highest."""
    status = Path(f"/proc/{service.process.pid}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith(field)).split()[1]) * 1024


def send(port, target):
    """Send the body; the answer."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as connection:
        head = b"POST %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (target, len(BODY))
        connection.sendall(head)
        connection.sendall(BODY)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@contextlib.contextmanager
def all_at_once(service, sink, target):
    """All clients send; at the end each one must have its answer."""
    with ThreadPoolExecutor(CLIENTS) as threads:
        answers = [threads.submit(send, service.port, target) for _ in range(CLIENTS)]
        yield
        sink.answering.set()
        assert all(answer.result().endswith(b"\r\n\r\n{}") for answer in answers)


@pytest.mark.slow
def test_bodies_that_pass_are_not_held(sinking, sink):
    """An upstream that takes nothing slows the clients down: a few buffers for each are all that the service holds."""
    before = memory_bytes(sinking, "VmRSS")
    with all_at_once(sinking, sink, b"/upstream/m/x"):
        sinking.wait_until(lambda: sink.asked == CLIENTS, DEADLINE_SECONDS)
        sinking.wait_until(settled(sinking), DEADLINE_SECONDS)
        held = memory_bytes(sinking, "VmHWM") - before
        sink.taking.set()
        sink.taken.wait(DEADLINE_SECONDS)
    assert held <= 2 * BUFFERS


def settled(service):
    """A condition: the memory has not grown during the last looks at it."""
    seen = []

    def is_settled():
        seen.append(memory_bytes(service, "VmHWM"))
        return len(seen) > 50 and seen[-50] == seen[-1]

    return is_settled


@pytest.mark.slow
@pytest.mark.skipif(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < NEEDED_BYTES, reason="needs 4 GiB")
def test_bodies_with_a_model_are_held_once(sinking, sink):
    """While all of them wait for their answers; after that their memory is given back."""
    before = memory_bytes(sinking, "VmRSS")
    sink.taking.set()
    with all_at_once(sinking, sink, b"/v1/chat/completions"):
        sink.taken.wait(DEADLINE_SECONDS)
        held = memory_bytes(sinking, "VmHWM") - before
    # An eighth more than its size is taken for a buffer that grows.
    assert held <= CLIENTS * SIZE * 9 // 8 + BUFFERS + KEPT
    sinking.wait_until(lambda: memory_bytes(sinking, "VmRSS") - before <= BUFFERS + KEPT)
