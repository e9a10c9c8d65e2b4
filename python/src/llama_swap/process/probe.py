"""One small HTTP client for one question: does the check endpoint answer 200?

It keeps its connection between probes, never looks at proxy settings of the environment, and follows redirects within
the same server, as Go's HTTP client does for llama-swap.
"""

import asyncio
from urllib.parse import SplitResult, urljoin, urlsplit

from llama_swap import dial

BODY_LIMIT_BYTES = 64 * 1024
REDIRECT_LIMIT = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NO_ANSWER = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)


class HttpProbe:
    """Asks ``GET base_url + endpoint``.

    Attributes:
        has_connected: a connection was made at least once, so something listens.
    """

    def __init__(self, base_url: str, endpoint: str) -> None:
        self._url = urlsplit(f"{base_url.rstrip('/')}/{endpoint.lstrip('/')}")
        self._host = self._url.hostname or "localhost"
        self._port = dial.port(self._url)
        self._tls = dial.tls(self._url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.has_connected = False

    async def ask(self) -> int | None:
        """The status of the answer, None when there was none. To be run under a time-out; then :meth:`close` it."""
        url = self._url
        for _ in range(REDIRECT_LIMIT):
            is_kept = self._streams is not None
            answer = await self._exchange(url)
            if answer is None and is_kept:
                answer = await self._exchange(url)  # the server had closed the kept connection
            if answer is None or answer[0] not in _REDIRECTS:
                return answer and answer[0]
            url = urlsplit(urljoin(url.geturl(), answer[1].get(b"location", b"").decode("latin-1")))
            if url[:2] != self._url[:2]:
                return answer[0]
        return None

    def close(self) -> None:
        """Drops the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _exchange(self, url: SplitResult) -> tuple[int, dict[bytes, bytes]] | None:
        try:
            reader, writer = self._streams = self._streams or await self._connect()
            writer.write(self._request(url))
            status, headers = await _read_head(reader)
            if not await _read_body(reader, status, headers):
                self.close()
        except _NO_ANSWER:
            self.close()
            return None
        return status, headers

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        addresses = dial.addresses(self._host)
        server_name = self._host if self._tls else None
        for address in addresses[:-1]:
            try:
                return self._connected(
                    await asyncio.open_connection(address, self._port, ssl=self._tls, server_hostname=server_name)
                )
            except OSError:
                continue
        return self._connected(
            await asyncio.open_connection(addresses[-1], self._port, ssl=self._tls, server_hostname=server_name)
        )

    def _connected(
        self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.has_connected = True
        return streams

    def _request(self, url: SplitResult) -> bytes:
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        host = self._url.netloc.rpartition("@")[2]
        return (
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: llama-swap\r\nAccept: */*\r\n"
            "Accept-Encoding: identity\r\n\r\n"
        ).encode()


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers (lower-case names) of the final answer; interim ones are skipped."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.rstrip().split(b"\r\n")
        protocol, status = first.split(None, 2)[:2]
        if not protocol.startswith(b"HTTP/"):
            raise ValueError("not HTTP")
        if int(status) >= 200:  # noqa: PLR2004  (1xx are interim)
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)
            }
            if protocol == b"HTTP/1.0":
                headers.setdefault(b"connection", b"close")
            return int(status), headers


async def _read_body(reader: asyncio.StreamReader, status: int, headers: dict[bytes, bytes]) -> bool:
    """Reads the rest of the answer if that is cheap; False when the connection cannot be used again."""
    if status == 200 or headers.get(b"connection", b"").lower() == b"close" or b"transfer-encoding" in headers:  # noqa: PLR2004  (ready)
        return False
    length = int(headers.get(b"content-length", b"-1"))
    if not 0 <= length <= BODY_LIMIT_BYTES:
        return False
    await reader.readexactly(length)
    return True
