"""What the handlers share: made once by :mod:`llama_swap.app`, read by every module of this package."""

from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from llama_swap.activity import Store
from llama_swap.api.context import ContextLengths
from llama_swap.api.directory import Desk, Directory
from llama_swap.api.events import EventFeed
from llama_swap.api.metering import Metering
from llama_swap.api.peer_servers import PeerServers
from llama_swap.api.selectors import Turns
from llama_swap.config import Config, Profile
from llama_swap.logs import LogHub
from llama_swap.metrics import Hardware, Metrics, PerformanceRing
from llama_swap.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class Version:
    """What ``/api/version`` and ``--version`` say."""

    version: str
    commit: str
    build_date: str


@dataclass(slots=True)
class ProfileSwitch:
    """Which profile is active; none is after a start or a reload."""

    active: str | None = None
    on_change: Callable[[], None] | None = None

    def activate(self, name: str | None) -> None:
        """Switch to a profile, or to none."""
        self.active = name
        if self.on_change is not None:
            self.on_change()


@dataclass(frozen=True, slots=True)
class Observation:
    """What is shown of the service to machines."""

    metrics: Metrics
    ring: PerformanceRing
    hardware: Hardware
    feed: EventFeed


@dataclass(frozen=True, slots=True)
class Site:
    """The running service as the handlers see it.

    Attributes:
        known_names: host names of this machine, for requests of browsers.
        peers: the servers of other people's models.
        store: rows of finished requests.
        metering: hears of every request to a model.
        observation: metrics, samples of the machine, events.
        contexts: what upstreams said about their context length.
        desk: has the directory of the configuration in force.
        turns: whose turn it is among equally busy targets of a selector.
    """

    supervisor: Supervisor
    hub: LogHub
    version: Version
    known_names: frozenset[str]
    peers: PeerServers
    store: Store
    metering: Metering
    observation: Observation
    contexts: ContextLengths = field(default_factory=ContextLengths)
    turns: Turns = field(default_factory=Turns)
    profile_switch: ProfileSwitch = field(default_factory=ProfileSwitch)
    desk: Desk = field(default_factory=Desk)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.supervisor.config

    @property
    def directory(self) -> Directory:
        """What that says to requests."""
        directory = self.desk.directory
        if directory is None or directory.config is not self.supervisor.config:
            directory = self.desk.renew(self.supervisor.config)
        return directory

    @property
    def active_profile(self) -> Profile | None:
        """The active profile, if there is one."""
        name = self.profile_switch.active
        return None if name is None else self.config.profiles.get(name)

    def configured(self) -> None:
        """Take over a configuration that was just put in force."""
        self.peers.configure(self.config.peers)
        self.metering.captures.resize(self.config.capture_buffer_bytes)
        self.profile_switch.activate(None)
        self.observation.metrics.keep_models(counted_models(self.config))
        self.observation.feed.models_changed()
        self.observation.feed.ui_changed()


def counted_models(config: Config) -> frozenset[str]:
    """What requests are counted under: the IDs of models, and the full names of those of peers."""
    peers = (found.qualified for found in config.peer_names.values())
    return frozenset((*config.models, *peers))


SITE = web.AppKey("site", Site)


def site_of(request: web.Request) -> Site:
    """The service that a request came to."""
    return request.app[SITE]
