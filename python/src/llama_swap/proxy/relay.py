"""One answer on its way from the upstream's socket to the client's, in the loop pass in which it was read.

Everything here is called by the event loop and never waits; :mod:`.forward` waits for :meth:`Relay.wait` and acts.

The body's bytes pass as they are, chunk framing included. Three cases need other framing: an answer that ends with its
connection is chunked for a client of HTTP/1.1, a chunked one is unwrapped for a client of HTTP/1.0, and whatever
cannot be delimited for the client ends with its connection.
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from time import monotonic

import httptools
from aiohttp import HttpVersion10, web

from llama_swap.proxy.answer import AnswerHead, BadAnswerError, Framing
from llama_swap.proxy.boundary import is_last
from llama_swap.proxy.chunks import ChunkedBody, blank_surplus
from llama_swap.proxy.connection import UpstreamConnection
from llama_swap.proxy.exchange import ByteCount, Exchange, Listener, Outgoing
from llama_swap.proxy.heads import HeadReader
from llama_swap.proxy.progress import Progress
from llama_swap.proxy.truncation import missing_of_chunk

HEAD_SECONDS = 30.0
"""A head that has begun must be complete after this; how long the upstream thinks before is ``response_header``."""

_RECHECK_SECONDS = 0.02


class Ending(StrEnum):
    """How a relay ended."""

    COMPLETE = "complete"
    CLIENT_GONE = "client_gone"
    NO_ANSWER = "no_answer"
    TIMED_OUT = "timed_out"
    CUT_SHORT = "cut_short"


# Python 3.11 takes a detour to a member of an enumeration, and each request comes by these.
_COMPLETE, _CLIENT_GONE = Ending.COMPLETE, Ending.CLIENT_GONE
_NONE, _LENGTH, _CHUNKED = Framing.NONE, Framing.LENGTH, Framing.CHUNKED


class Relay:
    """Receives from one upstream connection and writes to one client.

    Attributes:
        ending: None while it runs.
        detail: what went wrong.
        head: the answer's head, once there is one.
        heard: the upstream has sent at least one byte.
        progress: tells the coroutine in charge.
        listener: gets the body without framing.
        paused: the client does not keep up; :meth:`resume` when it has.
        closes: the client's connection must end with this answer.
        reusable: the upstream's connection may serve another request.
        chunked_here: the chunk framing towards the client is ours (see :mod:`.truncation`).
    """

    # What a relay begins with; most of it never changes while a small answer passes.
    ending: Ending | None = None
    detail = ""
    head: AnswerHead | None = None
    heard = paused = reusable = chunked_here = False
    _head_deadline: asyncio.TimerHandle | None = None
    _chunks: ChunkedBody | None = None
    _left = 0

    def __init__(
        self, request: web.BaseRequest, connection: UpstreamConnection, outgoing: Outgoing, exchange: Exchange
    ) -> None:
        early = outgoing.early
        client = early or request.transport
        if client is None:
            raise ConnectionResetError("the client has left")
        self._request = request
        self._client = client
        self._is_gone: Callable[[], bool] = client.is_closing
        self._write: Callable[[bytes], object] = client.write
        # A stream that has begun wants the body bare: it does the framing.
        self._modern = early is None and request.version != HttpVersion10
        self._protocol = request.protocol
        self._connection = connection
        self._outgoing = outgoing
        self._exchange = exchange
        self._heads = HeadReader(outgoing.method, connection.answers)
        self.progress = Progress()
        self.listener: Listener = ByteCount() if exchange.listener is None else exchange.listener
        self.closes = is_last(request)
        connection.on_data = self._read_head
        connection.on_lost = self._lost

    # What the coroutine in charge uses.

    def resume(self) -> None:
        """The client has taken what was buffered for it."""
        self.paused = False
        self._connection.resume_reading()

    def leave(self) -> None:
        """The client has left, or sends what cannot be understood."""
        self._end(_CLIENT_GONE)

    def time_out(self) -> None:
        """The answer's head did not come in time."""
        if self.head is None:
            self._end(Ending.TIMED_OUT, "the upstream did not begin to answer in time")

    def dispose(self) -> None:
        """Let go of everything that refers back: a request and its body must not be left to the collector."""
        if self._head_deadline is not None:
            self._stop_head_deadline()
        if self._chunks is not None:
            self._chunks.dispose()

    def missing_of_chunk(self) -> int | None:
        """What the last chunk of an answer that broke off lacks; to be asked once."""
        return None if self._chunks is None else missing_of_chunk(self._chunks, self.listener)

    # The head.

    def _read_head(self, data: bytes) -> None:
        self.heard = True
        try:
            found = self._heads.feed(data)
            if found is None:
                self._bound_head()
            else:
                self._begin(*found)
        except BadAnswerError as error:
            self._end(Ending.NO_ANSWER, str(error))

    def _bound_head(self) -> None:
        if not self._heads.is_within_head:
            self._stop_head_deadline()
        elif self._head_deadline is None:
            self._head_deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.time_out)

    def _stop_head_deadline(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _begin(self, head: AnswerHead, raw: bytes, body: bytes) -> None:
        """Send the head, in one write with the part of the body that came with it.

        Raises:
            BadAnswerError: the answer is none after all.
        """
        if head.status == 101:  # noqa: PLR2004 - RFC 9110 §15.2.2
            raise BadAnswerError("the upstream switched protocols unasked")
        if self._head_deadline is not None:
            self._stop_head_deadline()
        receive = self._receiver(head, raw)
        outgoing, exchange = self._outgoing, self._exchange
        out: list[bytes] = []
        if outgoing.early is None:
            answers, added = self._connection.answers, outgoing.response_headers
            out.append(answers.for_client(head, added, modern=self._modern, closes=self.closes))
        self.head = head
        exchange.status = head.status
        exchange.headers = head.headers
        exchange.fields = head.fields
        exchange.first_byte_at = monotonic()
        if exchange.on_head is not None:
            exchange.on_head()
        self._connection.on_data = receive
        if head.framing is _NONE:
            self._complete()
        client = self._client
        if body:
            self._write = out.append
            receive(body)
            self._write = client.write
        if out and not client.is_closing():
            client.write(b"".join(out))
        if self.ending is None and not self.paused:
            self._check_client()

    def _receiver(self, head: AnswerHead, raw: bytes) -> Callable[[bytes], None]:
        """Choose how the body is read, and whether the client's connection can outlive it."""
        modern = self._modern
        if not self._request.content.is_eof():
            self.closes = True
        if head.framing is _LENGTH:
            self._left = head.length
            return self._read_length
        if head.framing is _CHUNKED:
            # To a client of HTTP/1.1 the raw bytes are sent, not the pieces of a chunked body.
            self._chunks = ChunkedBody(raw, self.listener.add if modern else self._write_piece)
            self.closes = self.closes or not modern
            return self._read_chunked
        if head.framing is Framing.UNTIL_CLOSE:
            self.closes = self.closes or not modern
            self.chunked_here = modern
            return self._read_wrapped if modern else self._read_plain
        return self._surplus

    # The body: one method a framing. Nothing is added to a chunk's way through here without a measurement.

    def _read_length(self, data: bytes) -> None:
        if self._is_gone():
            self._end(_CLIENT_GONE)
            return
        left = self._left = self._left - len(data)
        if left < 0:
            data = data[:left]
        self._write(data)
        self._exchange.response_bytes += len(data)
        self.listener.add(data)
        if left <= 0:
            self._complete()
            if left:
                self._surplus(b"")
        elif self._protocol._paused:  # noqa: SLF001 - as in _client_is_slow, which would cost a call a read
            self._pause()

    def _read_chunked(self, data: bytes) -> None:
        chunks = self._chunks
        if chunks is None or self._is_gone():
            self._end(_CLIENT_GONE)
            return
        try:
            chunks.feed(data)
        except httptools.HttpParserError as error:
            self._break_off(chunks, error)
            return
        if chunks.complete:
            self._read_last(chunks, data)
            return
        chunks.last_read = data
        if self._modern:
            self._write(data)
            self._exchange.response_bytes += len(data)
        if self._protocol._paused:  # noqa: SLF001 - as above
            self._pause()

    def _read_last(self, chunks: ChunkedBody, data: bytes) -> None:
        """The read that completes a chunked body; blank lines after the end are cut off, a message never gets here."""
        surplus = blank_surplus(chunks.last_read, data)
        if self._modern:
            self.closes = self.closes or surplus is None
            data = data[:-surplus] if surplus else data
            self._write(data)
            self._exchange.response_bytes += len(data)
        self._complete()
        if surplus != 0:
            self._surplus(b"")

    def _break_off(self, chunks: ChunkedBody, error: httptools.HttpParserError) -> None:
        """The framing is broken, or something follows the message.

        None of this read is passed raw, for it is not known which part of it is the answer. Of an unwrapped body all
        has been passed by then, and nothing else.
        """
        if not chunks.complete:
            self._end(Ending.CUT_SHORT, f"the upstream's chunk framing is broken: {error}")
        elif self._modern:
            self._end(Ending.CUT_SHORT, "the upstream sent more than its answer")
        else:
            self._complete()
            self._surplus(b"")

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
        self.listener.add(data)

    # The end.

    @property
    def _client_is_slow(self) -> bool:
        return self._protocol._paused  # noqa: SLF001 - pinned by a test

    def _check_client(self) -> None:
        if self._client.is_closing():
            self._end(_CLIENT_GONE)
        elif self._client_is_slow:
            self._pause()

    def _pause(self) -> None:
        self.paused = True
        self._connection.pause_reading()
        self.progress.wake()
        if self.progress.is_uploading:
            self._resume_while_uploading()

    def _resume_while_uploading(self) -> None:
        """The coroutine is busy with the request's body, so look for ourselves whether the client reads again."""
        if not self.paused or self.ending is not None:
            return
        if self._client_is_slow:
            asyncio.get_running_loop().call_later(_RECHECK_SECONDS, self._resume_while_uploading)
        else:
            self.resume()

    def _complete(self) -> None:
        self.reusable = self.head is not None and self.head.keep_alive
        self._connection.on_data = self._surplus
        self._end(_COMPLETE)

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
            self._end(_COMPLETE)
        else:
            self._end(Ending.CUT_SHORT, f"the upstream closed the connection before the end of its answer{why}")

    def _end(self, ending: Ending, detail: str = "") -> None:
        if self.ending is not None:
            return
        self.ending = ending
        if ending is not _COMPLETE:
            self.detail = detail
            self._connection.abort()
        self.progress.end()
