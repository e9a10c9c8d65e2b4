"""One answer on its way from the upstream's socket to the client's, in the loop pass in which it was read.

Everything here is called by the event loop and never waits; :mod:`.forward` waits for :meth:`Relay.wait` and acts.

The body's bytes pass as they are, chunk framing included. Three cases need other framing: an answer that ends with its
connection is chunked for a client of HTTP/1.1, a chunked one is unwrapped for a client of HTTP/1.0, and whatever
cannot be delimited for the client ends with its connection.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from time import monotonic

import httptools
from aiohttp import HttpVersion11, web

from llama_swap.proxy.answer import MAX_HEAD_BYTES, AnswerHead, BadAnswerError, Framing, client_head
from llama_swap.proxy.connection import UpstreamConnection
from llama_swap.proxy.exchange import TAIL_BYTES, Exchange, Outgoing

_TAIL_PIECES = 64
_RECHECK_SECONDS = 0.02
_HEAD_END = b"\r\n\r\n"


class Ending(StrEnum):
    """How a relay ended."""

    COMPLETE = "complete"
    CLIENT_GONE = "client_gone"
    NO_ANSWER = "no_answer"
    TIMED_OUT = "timed_out"
    CUT_SHORT = "cut_short"


class Relay:
    """Receives from one upstream connection and writes to one client.

    Attributes:
        ending: None while it runs.
        detail: what went wrong.
        head: the answer's head, once there is one.
        heard: the upstream has sent at least one byte.
        pieces: the end of the body without framing, as it came.
        paused: the client does not keep up; :meth:`resume` when it has.
        closes: the client's connection must end with this answer.
        reusable: the upstream's connection may serve another request.
        chunked_here: the chunk framing towards the client is ours (see :mod:`.truncation`).
    """

    __slots__ = (
        "_client",
        "_connection",
        "_exchange",
        "_modern",
        "_outgoing",
        "_pending",
        "_protocol",
        "_request",
        "_upload",
        "_wake",
        "_write",
        "chunked_here",
        "closes",
        "detail",
        "ending",
        "head",
        "heard",
        "paused",
        "pieces",
        "reusable",
    )

    def __init__(
        self, request: web.BaseRequest, connection: UpstreamConnection, outgoing: Outgoing, exchange: Exchange
    ) -> None:
        client = outgoing.early or request.transport
        if client is None:
            raise ConnectionResetError("the client has left")
        self._request = request
        self._client = client
        # A stream that has begun wants the body bare: it does the framing.
        self._modern = outgoing.early is None and request.version >= HttpVersion11
        self._protocol = request.protocol
        self._connection = connection
        self._outgoing = outgoing
        self._exchange = exchange
        self._pending = b""
        self.pieces: deque[bytes] = deque(maxlen=_TAIL_PIECES)
        self._upload: asyncio.Timeout | None = None
        self._wake: asyncio.Future[None] | None = None
        self._write: Callable[[bytes], object] = client.write
        self.ending: Ending | None = None
        self.detail = ""
        self.head: AnswerHead | None = None
        self.heard = False
        self.paused = False
        self.closes = not request.keep_alive
        self.reusable = False
        self.chunked_here = False
        connection.on_data = self._read_head
        connection.on_lost = self._lost

    # What the coroutine in charge uses.

    async def wait(self) -> None:
        """Return when the relay has ended or is paused."""
        if self.ending is None and not self.paused:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake

    @asynccontextmanager
    async def while_running(self) -> AsyncIterator[None]:
        """Leave the block early when the relay ends: an answer may come before the request was sent whole."""
        try:
            async with asyncio.timeout(None) as self._upload:
                if self.ending is not None:
                    self._upload.reschedule(0)
                yield
        except TimeoutError:
            if self.ending is None:
                raise
        finally:
            self._upload = None

    def resume(self) -> None:
        """The client has taken what was buffered for it."""
        self.paused = False
        self._connection.resume_reading()

    def leave(self) -> None:
        """The client has left, or sends what cannot be understood."""
        self._end(Ending.CLIENT_GONE)

    def time_out(self) -> None:
        """The answer's head did not come in time."""
        if self.head is None:
            self._end(Ending.TIMED_OUT, "the upstream did not begin to answer in time")

    def dispose(self) -> None:
        """Give up the parser: head and parser refer to each other, which would leave each request to the collector."""
        if self.head is not None:
            self.head.parser = None  # type: ignore[assignment] # nothing reads it after the end
        self.head = None

    def tail(self) -> bytes:
        """The end of the body as far as it is kept."""
        return b"".join(self.pieces)[-TAIL_BYTES:]

    # The head.

    def _read_head(self, data: bytes) -> None:
        self.heard = True
        data = self._pending + data
        try:
            while (end := data.find(_HEAD_END)) >= 0:
                end += len(_HEAD_END)
                head = AnswerHead(data[:end], self._outgoing.method, self._on_piece())
                data = data[end:]
                if not head.is_interim:
                    self._begin(head, data)
                    return
            self._pending = data
            if len(data) > MAX_HEAD_BYTES:
                raise BadAnswerError("the answer's head is too large")  # noqa: TRY301 - one place makes it an ending
        except BadAnswerError as error:
            self._end(Ending.NO_ANSWER, str(error))

    def _on_piece(self) -> Callable[[bytes], object]:
        """What gets the pieces of a chunked body: to a client of HTTP/1.1 the raw bytes are sent, not these."""
        return self._note if self._modern else self._write_piece

    def _begin(self, head: AnswerHead, body: bytes) -> None:
        """Send the head, in one write with the part of the body that came with it."""
        if head.status == 101:  # noqa: PLR2004 - RFC 9110 §15.2.2
            raise BadAnswerError("the upstream switched protocols unasked")
        receive = self._receiver(head)
        out = []
        if self._outgoing.early is None:
            out.append(
                client_head(head, added=self._outgoing.response_headers, modern=self._modern, closes=self.closes)
            )
        self.head = head
        self._exchange.status = head.status
        self._exchange.headers = head.headers
        self._exchange.first_byte_at = monotonic()
        if self._exchange.on_head is not None:
            self._exchange.on_head()
        self._connection.on_data = receive
        if head.framing is Framing.NONE or (head.framing is Framing.LENGTH and not head.left):
            self._complete(head)
        if body:
            self._write = out.append
            receive(body)
            self._write = self._client.write
        if out and not self._client.is_closing():
            self._client.write(b"".join(out))
        if self.ending is None and not self.paused:
            self._check_client()

    def _receiver(self, head: AnswerHead) -> Callable[[bytes], None]:
        """Choose how the body is read, and whether the client's connection can outlive it."""
        modern = self._modern
        self.closes = self.closes or not self._request.content.is_eof()
        if head.framing is Framing.LENGTH and head.left:
            return self._read_length
        if head.framing is Framing.CHUNKED:
            self.closes = self.closes or not modern
            return self._read_chunked if modern else self._read_unwrapped
        if head.framing is Framing.UNTIL_CLOSE:
            self.closes = self.closes or not modern
            self.chunked_here = modern
            return self._read_wrapped if modern else self._read_plain
        return self._surplus

    # The body: one method a framing. Nothing is added to a chunk's way through here without a measurement.

    def _read_length(self, data: bytes) -> None:
        head = self.head
        if head is None or self._client.is_closing():
            self._end(Ending.CLIENT_GONE)
            return
        size = len(data)
        surplus = size > head.left
        if surplus:
            data = data[: head.left]
            size = head.left
        head.left -= size
        self._write(data)
        self._keep(data)
        if not head.left:
            self._complete(head)
            if surplus:
                self._surplus(b"")
        elif self._protocol._paused:  # noqa: SLF001 - public only since aiohttp 3.11; pinned by a test
            self._pause()

    def _read_chunked(self, data: bytes) -> None:
        head = self.head
        if head is None or self._client.is_closing():
            self._end(Ending.CLIENT_GONE)
            return
        try:
            head.parser.feed_data(data)
        except httptools.HttpParserError as error:
            # None of this read is passed: it is not known which part of it is the answer.
            self._end(Ending.CUT_SHORT, f"the upstream's chunk framing is broken: {error}")
            return
        self._write(data)
        head.last_read = data
        self._exchange.response_bytes += len(data)
        if len(data) > TAIL_BYTES:
            self._trim()
        if head.complete:
            self._complete(head)
        elif self._protocol._paused:  # noqa: SLF001 - see above
            self._pause()

    def _read_unwrapped(self, data: bytes) -> None:
        head = self.head
        if head is None or self._client.is_closing():
            self._end(Ending.CLIENT_GONE)
            return
        try:
            head.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(Ending.CUT_SHORT, f"the upstream's chunk framing is broken: {error}")
            return
        if head.complete:
            self._complete(head)
        else:
            self._check_client()

    def _write_piece(self, piece: bytes) -> None:
        self._write(piece)
        self._keep(piece)

    def _read_wrapped(self, data: bytes) -> None:
        self._write(b"%x\r\n%b\r\n" % (len(data), data))
        self._keep(data)
        self._check_client()

    def _read_plain(self, data: bytes) -> None:
        self._write(data)
        self._keep(data)
        self._check_client()

    def _surplus(self, _data: bytes) -> None:
        """Bytes after the message: they belong to no request, so the connection serves no other one."""
        self.reusable = False
        self._connection.abort()

    def _keep(self, data: bytes) -> None:
        self._exchange.response_bytes += len(data)
        self._note(data)
        if len(data) > TAIL_BYTES:
            self._trim()

    def _note(self, piece: bytes) -> None:
        self.pieces.append(piece)
        if self._exchange.on_piece is not None:
            self._exchange.on_piece(piece)

    def _trim(self) -> None:
        """Keep no big read alive for the sake of its end."""
        tail = self.tail()
        self.pieces.clear()
        self.pieces.append(tail)

    # The end.

    def _check_client(self) -> None:
        if self._client.is_closing():
            self._end(Ending.CLIENT_GONE)
        elif self._protocol._paused:  # noqa: SLF001 - see above
            self._pause()

    def _pause(self) -> None:
        self.paused = True
        self._connection.pause_reading()
        self._wake_up()
        if self._upload is not None:
            self._resume_while_uploading()

    def _resume_while_uploading(self) -> None:
        """The coroutine is busy with the request's body, so look for ourselves whether the client reads again."""
        if not self.paused or self.ending is not None:
            return
        if self._protocol._paused:  # noqa: SLF001 - see above
            asyncio.get_running_loop().call_later(_RECHECK_SECONDS, self._resume_while_uploading)
        else:
            self.resume()

    def _complete(self, head: AnswerHead) -> None:
        self.reusable = head.keep_alive
        self._connection.on_data = self._surplus
        self._end(Ending.COMPLETE)

    def _lost(self, error: Exception | None) -> None:
        """The upstream's connection is over."""
        why = f": {error}" if error else ""
        if self.ending is not None:
            self.reusable = False
        elif self.head is None:
            self._end(Ending.NO_ANSWER, f"the upstream closed the connection before it answered{why}")
        elif self.head.framing is Framing.UNTIL_CLOSE and error is None:
            if self.chunked_here and not self._client.is_closing():
                self._client.write(b"0\r\n\r\n")
            self._end(Ending.COMPLETE)
        else:
            self._end(Ending.CUT_SHORT, f"the upstream closed the connection before the end of its answer{why}")

    def _end(self, ending: Ending, detail: str = "") -> None:
        if self.ending is not None:
            return
        self.ending = ending
        self.detail = detail
        if ending is not Ending.COMPLETE:
            self._connection.abort()
        self._wake_up()

    def _wake_up(self) -> None:
        if self._upload is not None and self.ending is not None:
            self._upload.reschedule(0)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
