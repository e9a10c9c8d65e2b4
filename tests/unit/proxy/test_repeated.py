"""repeated: what is remembered of a connection's last head changes neither what one says nor what a client is told."""

from typing import NamedTuple

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llama_swap.proxy import repeated
from llama_swap.proxy.answer import BadAnswerError, client_head, read_head
from llama_swap.proxy.repeated import RepeatedHead

OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"Content-Type: application/json\r\n"

# Heads that resemble each other in everything that could be confused.
LENGTHS = st.sampled_from([b"1", b"23", b"0", b"00", b"007", b"9" * 18, b"9" * 19, b"-1", b"+1", b"", b"1 ", b"1,1"])
NAMES = st.sampled_from([b"Content-Length: ", b"content-length:", b"Content-Length:\t "])
LINES = st.sampled_from(
    [
        b"Content-Type: application/json\r\n",
        b"Content-Type: text/event-stream\r\n",
        b"X: Content-Length: 1\r\n",
        b"Connection: close\r\n",
        b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        b"Content-Length: 1\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ]
)
STATUS = st.sampled_from([OK, *(b"HTTP/1.%b\r\n" % line for line in (b"0 200 OK", b"1 204 N", b"1 100 C", b"1 404 "))])


def heads(lengths):
    """Heads with at least one field that should hold one of these lengths."""
    return st.builds(
        lambda status, before, name, length, after: b"".join([status, *before, name, length, b"\r\n", *after, b"\r\n"]),
        STATUS,
        st.lists(LINES, max_size=2),
        NAMES,
        lengths,
        st.lists(LINES, max_size=1),
    )


class Turn(NamedTuple):
    """One answer, and what decides beside its head about what the client is told."""

    head: bytes
    method: str = "GET"
    added: tuple = ()
    modern: bool = True
    closes: bool = False
    second: int = 0

    def fresh(self):
        """What the head says and what the client is told for it, without a memory; None where it is refused."""
        try:
            said = read_head(self.head, self.method)
        except BadAnswerError:
            return None
        told = client_head(said, self.added, modern=self.modern, closes=self.closes, second=self.second)
        return msgspec.structs.astuple(said), told

    def through(self, memory):
        """The same of a memory."""
        repeated.time = lambda: self.second + 0.5
        try:
            said = memory.read(self.head, self.method)
        except BadAnswerError:
            return None
        told = memory.for_client(said, self.added, modern=self.modern, closes=self.closes)
        return msgspec.structs.astuple(said), told


def turns_with(lengths):
    """Turns with such heads."""
    return st.builds(
        Turn,
        heads(lengths),
        st.sampled_from(["GET", "GET", "HEAD"]),
        st.sampled_from([(), (("X-Ours", "1"),), (("Content-Type", "a/b"),), OURS]),
        st.booleans(),
        st.booleans(),
        st.integers(0, 1),
    )


OURS = (("Content-Length", "5"),)
FIRST = Turn(JSON + b"Content-Length: 5\r\n\r\n")


@pytest.fixture(scope="module", autouse=True)
def given_back():
    """The time, which the tests set."""
    time = repeated.time
    yield
    repeated.time = time


@given(turns=st.lists(turns_with(LENGTHS), min_size=2, max_size=4))
@example(turns=[FIRST, Turn(JSON + b"Content-Length: 0\r\n\r\n")])
@example(turns=[FIRST, Turn(JSON + b"Content-Length: \r\n\r\n")])
@example(turns=[FIRST, Turn(JSON + b"Content-Length: 1\r\nX: 2\r\n\r\n")])
@example(turns=[FIRST, FIRST._replace(method="HEAD")])
@example(turns=[FIRST._replace(added=OURS), Turn(JSON + b"Content-Length: 6\r\n\r\n", added=OURS)])
def test_a_memory_changes_nothing(turns):
    """Whatever heads follow each other on a connection, each is understood and told as if it were the first one."""
    memory = RepeatedHead()
    for turn in turns:
        assert turn.through(memory) == turn.fresh()


@given(turn=turns_with(st.just(b"23")), others=st.lists(LENGTHS, min_size=1, max_size=3))
def test_other_lengths_change_nothing_else(turn, others):
    """The same head with other lengths, the case for which there is a memory."""
    memory = RepeatedHead()
    for length in (b"23", *others):
        again = turn._replace(head=turn.head.replace(b"23", length))
        assert again.through(memory) == again.fresh()


def test_a_head_that_comes_again_is_not_read_again(monkeypatch):
    """With another length it is recognised; with anything else, or for another method, it is not."""
    read = []

    def count(head, method):
        read.append(head)
        return read_head(head, method)

    monkeypatch.setattr(repeated, "read_head", count)
    memory = RepeatedHead()
    for length in (b"5", b"12345", b"6"):
        said = memory.read(JSON + b"Content-Length: " + length + b"\r\n\r\n", "POST")
        assert (said.length, said.fields[b"content-length"]) == (int(length), length)
        assert said.headers[1] == (b"Content-Length", length)
    assert len(read) == 1
    memory.read(JSON + b"Content-Length: 6\r\n\r\n", "GET")
    memory.read(JSON + b"Content-length: 6\r\n\r\n", "GET")
    assert len(read) == 3


def test_the_date_is_of_the_second():
    """What the client was told in another second is not told again."""
    memory = RepeatedHead()
    head = JSON + b"Content-Length: 5\r\n\r\n"
    told = [Turn(head, second=second).through(memory)[1] for second in (0, 0, 1)]
    assert told[0] == told[1]
    assert b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" in told[0]
    assert b"Date: Thu, 01 Jan 1970 00:00:01 GMT\r\n" in told[2]


def test_what_the_client_is_told_is_written_once(monkeypatch):
    """While nothing but the length changes."""
    written = []

    def count(*arguments, **options):
        written.append(arguments)
        return client_head(*arguments, **options)

    monkeypatch.setattr(repeated, "client_head", count)
    memory = RepeatedHead()
    for length in (b"5", b"12345", b"6"):
        _, told = Turn(JSON + b"Content-Length: " + length + b"\r\n\r\n").through(memory)
        assert b"\r\nContent-Length: " + length + b"\r\n" in told
    assert len(written) == 1
