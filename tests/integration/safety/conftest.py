"""A running service to attack: raw connections to it, and an upstream that writes down every byte it gets."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

DEADLINE_SECONDS = 15
_REQUEST_LINE = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.1")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\t\x20-\x7e\x80-\xff]*)")
_CHUNK_SIZE = re.compile(rb"[0-9a-f]+")
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class AmbiguousError(Exception):
    """Bytes that two readers could understand differently."""


@dataclass(frozen=True)
class Received:
    """One request as every reader of HTTP understands it."""

    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def take_request(data):
    """The first request in the bytes and what follows it; None while it is incomplete.

    Only the canonical form passes, in which nothing is left to the reader: CRLF and nothing else at the end of a line,
    one header a line, one length or one `chunked`, chunks without extensions and trailers.

    Raises:
        AmbiguousError: any other form.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    if head.count(b"\n") != head.count(b"\r\n") or head.count(b"\r") != head.count(b"\r\n") or b"\0" in head:
        raise AmbiguousError(head)
    first, *lines = head.split(b"\r\n")
    line, fields = _REQUEST_LINE.fullmatch(first), [_FIELD.fullmatch(each) for each in lines]
    if line is None or None in fields:
        raise AmbiguousError(head)
    headers = tuple((each[1].lower(), each[2]) for each in fields)
    taken = _take_body(headers, rest)
    return taken and (Received(line[2], headers, taken[0]), taken[1])


def _take_body(headers, rest):
    framing = [(name, value) for name, value in headers if name in {b"content-length", b"transfer-encoding"}]
    if len(framing) > 1 or sum(name == b"host" for name, _ in headers) != 1:
        raise AmbiguousError(headers)
    if not framing:
        return b"", rest
    name, value = framing[0]
    if name == b"transfer-encoding":
        if value != b"chunked":
            raise AmbiguousError(headers)
        return _take_chunks(rest)
    if not value.isdigit():
        raise AmbiguousError(headers)
    length = int(value)
    return (rest[:length], rest[length:]) if len(rest) >= length else None


def _take_chunks(rest):
    body = b""
    while True:
        size_text, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        if not _CHUNK_SIZE.fullmatch(size_text):
            raise AmbiguousError(size_text)
        size = int(size_text, 16)
        if len(rest) < size + 2:
            return None
        if rest[size : size + 2] != b"\r\n":
            raise AmbiguousError(rest[:20])
        body += rest[:size]
        rest = rest[size + 2 :]
        if not size:
            return body, rest


@dataclass
class Recorder:
    """An upstream on raw sockets that answers each request with `{}` and writes down what it got.

    Attributes:
        requests: all of them, whatever connection they came on.
        ambiguous: what was not in canonical form.
        answers: what is sent for a request; without an end the connection stays open after it.
    """

    listener: socket.socket
    requests: list[Received] = field(default_factory=list)
    ambiguous: list[AmbiguousError] = field(default_factory=list)
    answers: Callable[[Received], bytes] = lambda _request: _ANSWER
    threads: list[threading.Thread] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def port(self):
        """Where it listens."""
        return self.listener.getsockname()[1]

    def accept(self):
        """Serve every connection in a thread of its own until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.sockets.append(connection)
                thread = threading.Thread(target=self._serve, args=[connection])
                self.threads.append(thread)
                thread.start()

    def _serve(self, connection):
        data = b""
        with connection, contextlib.suppress(OSError):
            while more := connection.recv(65536):
                data += more
                try:
                    while taken := take_request(data):
                        request, data = taken
                        self.requests.append(request)
                        connection.sendall(self.answers(request))
                except AmbiguousError as error:
                    self.ambiguous.append(error)
                    return

    def close(self):
        """End every connection."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(DEADLINE_SECONDS)


@pytest.fixture
def recorder():
    """An upstream that is asked for nothing yet."""
    running = Recorder(socket.create_server(("127.0.0.1", 0)))
    accepting = threading.Thread(target=running.accept)
    accepting.start()
    yield running
    running.close()
    accepting.join(DEADLINE_SECONDS)


class Wire:
    """Raw connections to one service."""

    def __init__(self, port):
        self._port = port

    def connect(self):
        """A connection; close it."""
        return socket.create_connection(("127.0.0.1", self._port), DEADLINE_SECONDS)

    def tell(self, *pieces, hangs_up=False):
        """Send some bytes, each piece with a system call of its own; everything that comes back until the end of file.

        Args:
            pieces: of bytes.
            hangs_up: close the sending side afterwards, which ends what waits for more bytes.
        """
        with self.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The service may have refused and closed while we still send.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for piece in pieces:
                    connection.sendall(piece)
                if hangs_up:
                    with contextlib.suppress(OSError):  # what was closed already
                        connection.shutdown(socket.SHUT_WR)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while data := connection.recv(65536):
                    received += data
            return received


@pytest.fixture
def wire(service):
    """Raw connections to the service of this test."""
    return Wire(service.port)


@pytest.fixture
def service(service):
    """The same, stopped in the ordinary way: a model that outlives it would be left to this process."""
    yield service
    if service.process is not None and service.process.poll() is None:
        service.stop()


@pytest.fixture
def recorded(service, recorder):
    """The service with one model ``m``, whose upstream is the recorder."""
    model = {"cmd": "sleep 1000", "proxy": f"http://127.0.0.1:{recorder.port}", "checkEndpoint": "none"}
    service.write({"models": {"m": model}})
    return service.start()
