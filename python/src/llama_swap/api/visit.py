"""The notes about one request, filled in on its way and read when it ends."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from llama_swap.activity import InflightRequest
from llama_swap.errors import RequestError
from llama_swap.proxy.exchange import Exchange
from llama_swap.scheduler.events import NO_TERMS, Terms
from llama_swap.supervisor import Lease


class Visit(msgspec.Struct, eq=False):
    """What is known about one request, for its log line; filled in on its way.

    Attributes:
        started_at: monotonic seconds.
        stream: the client asked for an event stream.
        refusal: what a stream that had begun was told instead of an answer.
        entry: its line in the table of requests in flight.
        on_serve: called when the request has what serves it.
        terms: whose it is, how urgent, and how long its model shall stay.
        requested: the model name the client sent; ``model`` is the ID it stands for, ``selector`` what chose it.
    """

    started_at: float = msgspec.field(default_factory=time.monotonic)
    requested: str = ""
    model: str = ""
    selector: str = ""
    stream: bool = False
    terms: Terms = NO_TERMS
    refusal: RequestError | None = None
    entry: InflightRequest | None = None
    on_serve: Callable[[], None] | None = None
    lease: Lease | None = None
    exchange: Exchange = msgspec.field(default_factory=Exchange)

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
