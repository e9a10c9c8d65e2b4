"""Models of other servers: their addresses and keys, and whether they answered lately."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from llama_swap.config import Peer
from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.upstream import Upstream, UpstreamTimeouts

# After the first failed connection a peer is tried again soon, then ever more rarely.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class PeerServer:
    """One peer and what is known about its health.

    Attributes:
        in_service: requests by model.
        silent_until: monotonic seconds; until then it is not even tried.
    """

    peer: Peer
    upstream: Upstream
    in_service: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    silent_until: float = 0.0
    last_error: str = ""

    def require_alive(self) -> None:
        """Raise RequestError at once while the peer is known not to answer."""
        wait = self.silent_until - time.monotonic()
        if wait > 0:
            message = f"peer {self.peer.id!r} does not answer ({self.last_error}); next try in {wait:.1f} s"
            raise RequestError(Reason.UPSTREAM_FAILED, message, retry_after_seconds=wait)

    def note_failure(self, error: str) -> None:
        """It could not be reached or died before it answered."""
        self.failures += 1
        self.last_error = error
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** min(self.failures - 1, 10))
        self.silent_until = time.monotonic() + pause

    def note_answer(self) -> None:
        """It answered, whatever it said."""
        self.failures, self.silent_until, self.last_error = 0, 0.0, ""

    @contextlib.contextmanager
    def serving(self, model: str) -> Iterator[None]:
        """Count a request while it lasts."""
        self.in_service[model] += 1
        try:
            yield
        finally:
            self.in_service[model] -= 1


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
