"""What is remembered about the health of peers."""

import pytest

from llama_swap.api.peer_servers import PeerServers
from llama_swap.config import Filters, Peer, Timeouts
from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.exchange import Exchange


def peer(name="far", url="http://127.0.0.1:1"):
    """A peer with one model."""
    return Peer(name, url, None, ("x",), Filters(), Timeouts())


def test_dead_peer_fails_fast_until_its_next_try():
    """After a failure the peer is not tried again at once; the error says why and when."""
    server = PeerServers({"far": peer()}).of(peer())
    server.require_alive()
    server.note_failure("connection refused")
    with pytest.raises(RequestError, match="connection refused") as caught:
        server.require_alive()
    assert caught.value.reason is Reason.UPSTREAM_FAILED
    assert 0 < caught.value.retry_after_seconds <= 1


def test_answer_forgets_the_failures():
    """One answer is enough to count as alive."""
    server = PeerServers({"far": peer()}).of(peer())
    server.note_failure("connection refused")
    server.note_reached(server.failed_at)
    server.require_alive()


def test_old_request_that_ends_late_proves_nothing():
    """A request from before the failure reached a server that has gone since."""
    server = PeerServers({"far": peer()}).of(peer())
    server.note_failure("connection refused")
    server.note_reached(server.failed_at - 1)
    assert server.is_silent


def test_after_the_pause_one_request_tries_it_while_the_others_fail_at_once():
    """Twenty clients must not all wait for the connection that one of them could have tried."""
    server = PeerServers({"far": peer()}).of(peer())
    server.note_failure("connection refused")
    server.silent_until = server.failed_at
    server.require_alive()
    probe = Exchange()
    with server.serving("x", probe):
        with pytest.raises(RequestError, match="next try"):
            server.require_alive()
        probe.upstream_sent_at = server.failed_at + 1  # reached: an answer may take minutes, the others need not wait
        server.require_alive()


def test_probe_that_ends_without_a_result_leaves_the_next_one_to_try():
    """The client of the probe may leave before there is a connection."""
    server = PeerServers({"far": peer()}).of(peer())
    server.note_failure("connection refused")
    server.silent_until = server.failed_at
    with server.serving("x", Exchange()):
        assert server.is_silent
    server.require_alive()


def test_pause_grows_with_each_failure_and_is_bounded():
    """A peer that is switched off for the night is tried twice a minute, not every second."""
    server = PeerServers({"far": peer()}).of(peer())
    pauses = []
    for _ in range(12):
        server.note_failure("no route to host")
        with pytest.raises(RequestError) as caught:
            server.require_alive()
        pauses.append(round(caught.value.retry_after_seconds))
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == 30


def test_reload_keeps_the_health_of_unchanged_peers_only():
    """A changed address is a new start."""
    servers = PeerServers({"far": peer(), "near": peer("near")})
    servers.of(peer()).note_failure("x")
    servers.of(peer("near")).note_failure("x")
    servers.configure({"far": peer(), "near": peer("near", "http://127.0.0.1:2")})
    assert servers.of(peer()).failures == 1
    assert servers.of(peer("near")).failures == 0


def test_requests_in_service_are_counted_while_they_last():
    """Spillover selectors need to know how busy a peer's model is."""
    server = PeerServers({"far": peer()}).of(peer())
    with server.serving("x", Exchange()):
        assert server.in_service["x"] == 1
    assert server.in_service["x"] == 0
