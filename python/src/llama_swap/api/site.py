"""What the handlers share: made once by :mod:`llama_swap.app`, read by every module of this package."""

import time
from dataclasses import dataclass, field

from aiohttp import web

from llama_swap.config import Config
from llama_swap.logs import LogHub
from llama_swap.proxy.exchange import Exchange
from llama_swap.supervisor import Lease, Supervisor


@dataclass(frozen=True, slots=True)
class Version:
    """What ``/api/version`` and ``--version`` say."""

    version: str
    commit: str
    build_date: str


@dataclass(slots=True, eq=False)
class Visit:
    """What is known about one request, for its log line; filled in on its way.

    Attributes:
        started_at: monotonic seconds.
        requested: the model name the client sent; ``model`` is the ID it stands for.
    """

    started_at: float = field(default_factory=time.monotonic)
    requested: str = ""
    model: str = ""
    lease: Lease | None = None
    exchange: Exchange = field(default_factory=Exchange)


@dataclass(frozen=True, slots=True)
class Site:
    """The running service as the handlers see it.

    Attributes:
        known_names: host names of this machine, for requests of browsers.
    """

    supervisor: Supervisor
    hub: LogHub
    version: Version
    known_names: frozenset[str]

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.supervisor.config


SITE = web.AppKey("site", Site)
VISIT = "visit"


def site_of(request: web.Request) -> Site:
    """The service that a request came to."""
    return request.app[SITE]


def visit_of(request: web.Request) -> Visit:
    """The notes about a request."""
    visit: Visit = request[VISIT]
    return visit
