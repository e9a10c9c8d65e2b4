"""What is kept of a body that passes in pieces."""

from hypothesis import given
from hypothesis import strategies as st

from llama_swap.activity.sample import BodySampler


def _sample(pieces, head_bytes, tail_bytes):
    sampler = BodySampler(head_bytes, tail_bytes)
    for piece in pieces:
        sampler.add(piece)
    return sampler.sample(content_type="text/plain", content_encoding="", status=200, complete=True)


@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(1, 40), st.integers(1, 20))
def test_head_and_tail_are_the_ends_of_the_body(pieces, head_bytes, tail_bytes):
    """Whatever the pieces, the head is the beginning; a tail is the end and covers what the head lacks."""
    body = b"".join(pieces)
    sample = _sample(pieces, head_bytes, tail_bytes)
    assert sample.head == body[:head_bytes]
    assert sample.total_bytes == len(body)
    assert sample.is_whole == (len(body) <= head_bytes)
    assert body.endswith(sample.tail)
    assert len(sample.tail) <= tail_bytes
    if not sample.is_whole:
        assert len(sample.tail) >= min(tail_bytes, len(body) - head_bytes)


def test_a_big_read_is_not_kept_alive():
    """Of a piece much longer than the tail only its end is held."""
    sampler = BodySampler(1, 10)
    sampler.add(b"xx")
    sampler.add(b"a" * 1_000_000)
    assert sum(len(piece) for piece in sampler._tail) <= 40


@given(st.lists(st.binary(max_size=30), max_size=20), st.lists(st.binary(max_size=30), max_size=20))
def test_what_was_heard_after_a_mark_can_be_forgotten(pieces, more):
    """A sampler that forgets is as if it had never heard it."""
    sampler = BodySampler(40, 20)
    for piece in pieces:
        sampler.add(piece)
    first_at, forget = sampler.first_at, sampler.mark()
    for piece in more:
        sampler.add(piece)
    assert sampler.total_bytes == sum(map(len, pieces + more))
    forget()
    assert sampler.first_at == first_at
    known = {"content_type": "text/plain", "content_encoding": "", "status": 200, "complete": True}
    assert sampler.sample(**known) == _sample(pieces, 40, 20)
