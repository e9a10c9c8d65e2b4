"""Ports."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.config import PortBook, port_is_free


def test_ports_rise_from_the_start():
    """The first models get consecutive ports."""
    book = PortBook(lambda _port: True)
    assert [book.port_for(name, 5800) for name in ("a", "b", "c")] == [5800, 5801, 5802]


def test_busy_ports_are_skipped():
    """A port that somebody listens on is given to no model."""
    book = PortBook(lambda port: port not in {5800, 5802})
    assert [book.port_for(name, 5800) for name in ("a", "b")] == [5801, 5803]


def test_a_model_keeps_its_port():
    """Neither its own process, which listens there, nor new models move a model."""
    busy = set()
    book = PortBook(lambda port: port not in busy)
    assert book.port_for("m", 5800) == 5800
    busy.add(5800)
    assert [book.port_for(name, 5800) for name in ("a", "m", "z")] == [5801, 5800, 5802]


def test_a_new_start_moves_all():
    """When the start port changes, so do the ports."""
    book = PortBook(lambda _port: True)
    book.port_for("m", 5800)
    assert book.port_for("m", 6000) == 6000


def test_reassign():
    """A model whose port was taken gets another one and keeps that."""
    book = PortBook(lambda _port: True)
    book.port_for("a", 5800)
    book.port_for("b", 5800)
    assert book.reassign("a", 5800) == 5802
    assert book.port_for("a", 5800) == 5802


def test_forget_gives_ports_back():
    """The port of a forgotten model is free for others; an unknown model is no error."""
    book = PortBook(lambda _port: True)
    book.port_for("old", 5800)
    book.forget(["old", "never"])
    assert book.port_for("new", 5800) == 5800


def test_reserved_ports():
    """A port that the configuration gives to somebody itself is handed to nobody, and taken from who has it."""
    book = PortBook(lambda _port: True)
    book.port_for("a", 5800)
    book.reserve([5800, 5801])
    assert [book.port_for(name, 5800) for name in ("b", "a")] == [5802, 5803]


def test_no_port_left():
    """Past the last port there is none, and a model keeps what it had."""
    book = PortBook(lambda _port: True)
    assert book.port_for("a", 65535) == 65535
    with pytest.raises(LookupError, match="65535"):
        book.port_for("b", 65535)
    with pytest.raises(LookupError):
        book.reassign("a", 65535)
    assert book.port_for("a", 65535) == 65535


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["port_for", "reassign", "forget"]), st.sampled_from("abcdef"), st.sampled_from([50, 55])
        )
    ),
    st.sets(st.integers(50, 70)),
)
def test_never_one_port_for_two(steps, busy):
    """Whatever happens, two models never have the same port, and none gets a busy one."""
    book = PortBook(lambda port: port not in busy)
    held = {}
    for action, name, start in steps:
        if action == "forget":
            book.forget([name])
            held.pop(name, None)
        else:
            held[name] = getattr(book, action)(name, start)
        assert len(set(held.values())) == len(held)
        assert not busy & set(held.values())


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_listener_makes_a_port_busy(address):
    """A listener on loopback or on all addresses, IPv4 or IPv6, is noticed, and its end too."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        try:
            listener.bind((address, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        listener.listen()
        port = listener.getsockname()[1]
        assert not port_is_free(port)
    assert port_is_free(port)


@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT, None])
def test_time_wait_is_free(option):
    """A port with only finished connections on it is free, whatever the server before set on its socket."""
    with socket.socket() as listener:
        if option is not None:
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            served, _ = listener.accept()
            served.close()  # the side that closes first, the server's, is left in TIME_WAIT
            assert client.recv(1) == b""
            assert not port_is_free(port)
    assert port_is_free(port)


def test_a_bound_port_is_busy():
    """A port that is bound and not yet listened on is busy."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert not port_is_free(bound.getsockname()[1])


def test_a_load_in_another_process_is_taken_over():
    """What it gave out counts here, as if it had been done here."""
    book = PortBook(lambda _port: True)
    book.port_for("old", 5800)
    since = book.copy()
    loaded = since.copy()
    loaded.reserve([5802])
    assert [loaded.port_for(name, 5800) for name in ("old", "new", "newer")] == [5800, 5801, 5803]
    book.take_over(loaded, since=since)
    assert [book.port_for(name, 5800) for name in ("old", "new", "newer")] == [5800, 5801, 5803]
    assert book.port_for("next", 5800) == 5804


def test_what_was_given_out_meanwhile_stays():
    """A model that got another port while the load went on has it already."""
    book = PortBook(lambda _port: True)
    book.port_for("m", 5800)
    since = book.copy()
    loaded = since.copy()
    assert loaded.port_for("m", 6000) == 6000
    assert book.reassign("m", 5800) == 5801
    book.take_over(loaded, since=since)
    assert book.port_for("m", 5800) == 5801


def test_a_copy_is_on_its_own():
    """What is asked of the one does not change the other."""
    book = PortBook(lambda _port: True)
    twin = book.copy()
    twin.port_for("m", 5800)
    twin.reserve([5801])
    assert (dict(book.given), book.reserved) == ({}, frozenset())
