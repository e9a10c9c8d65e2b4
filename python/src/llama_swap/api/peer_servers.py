"""Models of other servers: their addresses and keys, and whether they answered lately."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from llama_swap.config import Peer
from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.exchange import Exchange
from llama_swap.proxy.upstream import Upstream, UpstreamTimeouts

# After the first failed connection a peer is tried again soon, then ever more rarely.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
# What callers are told while somebody else's request finds out whether it is back.
_PROBE_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class PeerServer:
    """One peer and what is known about its health.

    Only a connection that cannot be made counts against it: a slow answer, or one that ends early, says nothing about
    the next request. After the pause one request tries it while the others still fail at once.

    Attributes:
        in_service: requests by model.
        failed_at: monotonic seconds, as the next.
        silent_until: until then it is not even tried.
        probe: the request that tries it after a pause.
    """

    peer: Peer
    upstream: Upstream
    in_service: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    failed_at: float = 0.0
    silent_until: float = 0.0
    last_error: str = ""
    probe: Exchange | None = None

    @property
    def is_silent(self) -> bool:
        """Whether a request would fail at once."""
        return self._silent_seconds() > 0

    def require_alive(self) -> None:
        """Raise RequestError at once while the peer is known not to answer."""
        wait = self._silent_seconds()
        if wait > 0:
            message = f"peer {self.peer.id!r} does not answer ({self.last_error}); next try in {wait:.1f} s"
            raise RequestError(Reason.UPSTREAM_FAILED, message, retry_after_seconds=wait)

    def _silent_seconds(self) -> float:
        # A probe that has reached the peer answers the question, however long its own answer takes.
        if self.failures and self.probe is not None and reached_at(self.probe) is None:
            return _PROBE_SECONDS
        return self.silent_until - time.monotonic()

    def note_failure(self, error: str) -> None:
        """It could not be reached."""
        self.failures += 1
        self.last_error = error
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** min(self.failures - 1, 10))
        self.failed_at = time.monotonic()
        self.silent_until = self.failed_at + pause

    def note_reached(self, at: float) -> None:
        """It took a request, whatever became of it; one from before the last failure proves nothing."""
        if at < self.failed_at:
            return
        self.failures, self.silent_until, self.last_error = 0, 0.0, ""

    @contextlib.contextmanager
    def serving(self, model: str, exchange: Exchange) -> Iterator[None]:
        """Count a request while it lasts; the first one after a failure finds out whether the peer is back."""
        probes = self.failures > 0 and self.probe is None
        if probes:
            self.probe = exchange
        self.in_service[model] += 1
        try:
            yield
        finally:
            self.in_service[model] -= 1
            if probes:
                self.probe = None


def reached_at(exchange: Exchange) -> float | None:
    """When the upstream took the request, or began to answer it before it had all of it; None while it did neither."""
    return exchange.first_byte_at if exchange.upstream_sent_at is None else exchange.upstream_sent_at


class PeerServers:
    """All configured peers; a reload keeps the connections and the health of those that did not change."""

    def __init__(self, peers: Mapping[str, Peer]) -> None:
        self._servers: dict[str, PeerServer] = {}
        self.configure(peers)

    def configure(self, peers: Mapping[str, Peer]) -> None:
        """Take over a new configuration."""
        old, self._servers = self._servers, {}
        for name, peer in peers.items():
            known = old.pop(name, None)
            if known is not None and known.peer == peer:
                self._servers[name] = known
            else:
                self._servers[name] = PeerServer(peer, Upstream(peer.base_url, _timeouts(peer)))
        for gone in old.values():
            gone.upstream.close()

    def of(self, peer: Peer) -> PeerServer:
        """The server of a configured peer."""
        return self._servers[peer.id]


def _timeouts(peer: Peer) -> UpstreamTimeouts:
    return UpstreamTimeouts(
        connect=peer.timeouts.connect_seconds,
        response_header=peer.timeouts.response_header_seconds,
        idle_conn=peer.timeouts.idle_conn_seconds,
        tls_handshake=peer.timeouts.tls_handshake_seconds,
    )
