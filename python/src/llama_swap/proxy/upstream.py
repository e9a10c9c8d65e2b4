"""The HTTP server behind an instance: where it is, and the connections that can be used again."""

import asyncio
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

from llama_swap import dial
from llama_swap.proxy.connection import UpstreamConnection

_IDLE_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class UpstreamTimeouts:
    """Limits of time in seconds; 0 is none.

    Attributes:
        connect: until the TCP (and TLS) connection stands.
        response_header: from the last byte of the request to the end of the answer's head.
        idle_conn: how long an unused connection is kept; below the 5 s keep-alive of llama-server's HTTP library.
        tls_handshake: the TLS part of ``connect``.
    """

    connect: float = 30.0
    response_header: float = 0.0
    idle_conn: float = 4.0
    tls_handshake: float = 10.0


class Upstream:
    """One upstream and its pool of keep-alive connections.

    Raises:
        ValueError: ``base_url`` is not an http or https URL with a host.
    """

    __slots__ = ("_closed", "_hosts", "_idle", "_port", "_sweeper", "_tls", "authority", "prefix", "timeouts")

    def __init__(self, base_url: str, timeouts: UpstreamTimeouts | None = None) -> None:
        url = urlsplit(base_url)
        if url.scheme not in dial.DEFAULT_PORTS or not url.hostname:
            raise ValueError(f"{base_url!r} is not an http or https URL")
        self.timeouts = timeouts or UpstreamTimeouts()
        self.authority = url.netloc.rpartition("@")[2]
        self.prefix = url.path.rstrip("/")
        self._hosts = dial.addresses(url.hostname)
        self._port = dial.port(url)
        self._tls = dial.tls(url)
        self._idle: list[UpstreamConnection] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def take_idle(self) -> UpstreamConnection | None:
        """The most recently used one of the connections that can be used again."""
        limit = self.timeouts.idle_conn
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable and (not limit or monotonic() - connection.idle_since <= limit):
                return connection
            connection.abort()
        return None

    async def connect(self) -> UpstreamConnection:
        """A new connection.

        Raises:
            OSError: it cannot be made (TimeoutError included).
        """
        error: OSError = OSError("no address")
        async with asyncio.timeout(self.timeouts.connect or None):
            for host in self._hosts:
                try:
                    return await self._connect_to(host)
                except TimeoutError:
                    raise
                except OSError as refused:
                    # The first refusal is the telling one: llama-server listens on IPv4 unless told otherwise.
                    error = refused if host == self._hosts[0] else error
        try:
            raise error
        finally:
            # The traceback refers to this frame and the callers' ones, whose locals hold the request's body.
            del error

    async def _connect_to(self, host: str) -> UpstreamConnection:
        tls_limit = (self.timeouts.tls_handshake or None) if self._tls else None
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            UpstreamConnection, host, self._port, ssl=self._tls, ssl_handshake_timeout=tls_limit
        )
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """Give back a connection whose exchange has ended well."""
        if self._closed or not connection.is_usable or len(self._idle) >= _IDLE_CONNECTIONS:
            connection.abort()
            return
        connection.detach()
        connection.reused = True
        connection.idle_since = monotonic()
        self._idle.append(connection)
        if self._sweeper is None and self.timeouts.idle_conn:
            self._sweeper = asyncio.get_running_loop().call_later(self.timeouts.idle_conn, self._sweep)

    def _sweep(self) -> None:
        """Close what was idle too long; the timer stands only while something is idle."""
        oldest_allowed = monotonic() - self.timeouts.idle_conn
        expired = [connection for connection in self._idle if connection.idle_since <= oldest_allowed]
        self._idle = [connection for connection in self._idle if connection.idle_since > oldest_allowed]
        for connection in expired:
            connection.abort()
        self._sweeper = None
        if self._idle:
            wait = self._idle[0].idle_since - oldest_allowed
            self._sweeper = asyncio.get_running_loop().call_later(wait, self._sweep)

    def close(self) -> None:
        """Abort the idle connections and keep none from now on; busy ones end by themselves."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.abort()
