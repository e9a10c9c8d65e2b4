"""The notes about one request, filled in on its way and read when it ends."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from llama_swap.activity import InflightRequest
from llama_swap.api.head_notes import NO_HEAD, HeadNotes
from llama_swap.errors import RequestError
from llama_swap.proxy.exchange import Exchange
from llama_swap.scheduler.events import NO_TERMS, Terms
from llama_swap.supervisor import Lease

if TYPE_CHECKING:
    from llama_swap.api.metering import Meter
    from llama_swap.api.site import Site


class Visit(msgspec.Struct, eq=False):
    """What is known about one request, for its log line; filled in on its way, in the block of which it is the context.

    Attributes:
        site: where it came to.
        head: what the head of the request says.
        started_at: monotonic seconds.
        stream: the client asked for an event stream.
        refusal: what a stream that had begun was told instead of an answer.
        entry: its line in the table of requests in flight.
        lease: the last it had; None without any.
        meter: makes a row of it at its end, if it gets one.
        terms: whose it is, how urgent, and how long its model shall stay.
        requested: the model name the client sent; ``model`` is the ID it stands for, ``selector`` what chose it.
    """

    site: "Site"
    head: HeadNotes = NO_HEAD
    started_at: float = msgspec.field(default_factory=time.monotonic)
    requested: str = ""
    model: str = ""
    selector: str = ""
    stream: bool = False
    terms: Terms = NO_TERMS
    refusal: RequestError | None = None
    entry: InflightRequest | None = None
    lease: Lease | None = None
    meter: "Meter | None" = None
    exchange: Exchange = msgspec.field(default_factory=Exchange)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.meter is not None:
            self.meter.end(error)

    def serve(self) -> None:
        """It has what serves it."""
        if self.entry is not None:
            self.site.metering.table.serve(self.entry)

    def take(self, lease: Lease) -> None:
        """It has a lease."""
        self.lease = lease
        self.exchange.why_cut = lease.instance.why_cut
        self.serve()

    @property
    def is_cancelled_by_us(self) -> bool:
        """Whether an operator cancelled it before anything of an upstream's answer was passed on."""
        return self.entry is not None and self.entry.cancelled and not self.exchange.status


# aiohttp 3.14 warns of keys that are plain text; older ones have no other.
VISIT: Any = web.RequestKey("visit", Visit) if hasattr(web, "RequestKey") else "visit"


def visit_of(request: web.Request) -> Visit:
    """The notes about a request."""
    visit: Visit = request[VISIT]
    return visit
