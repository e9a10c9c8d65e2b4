"""What we understand, h11 understands in the same way; what is doubtful we refuse."""

import pytest
from harness import DisagreementError, check_answer, check_requests
from hypothesis import event, given, settings
from hypothesis import strategies as st
from messages import answers, requests

from llama_swap.proxy import request_head
from llama_swap.proxy.exchange import Outcome

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
REQUESTS = [
    ([GET, POST], [b"", b"{}"]),
    ([POST[:10], POST[10:-1], POST[-1:] + GET], [b"{}", b""]),
    ([POST + CHUNKED, GET], [b"{}", b"a"]),
]
OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = [
    ([OK + b"Content-Length: 2\r\n\r\nab"], Outcome.OK),
    ([OK + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n0\r\n\r\n"], Outcome.OK),
    ([OK + b"\r\nab", b"c"], Outcome.OK),
    ([OK + b"Content-Length: 3\r\n\r\nab"], Outcome.UPSTREAM_DIED),
    ([OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"], Outcome.UPSTREAM_DIED),
    ([OK + b"Transfer-Encoding: gzip\r\n\r\nab"], Outcome.UPSTREAM_FAILED),
]


@given(requests())
@settings(max_examples=300)
async def test_requests(reads):
    """Every request that a handler gets is one that h11 reads in the same bytes, in the same order."""
    event(f"{len(await check_requests(reads))} requests understood")


@given(answers(), st.sampled_from([b"GET", b"POST", b"HEAD"]), st.booleans())
@settings(max_examples=300)
async def test_answers(reads, method, modern):
    """The client gets what h11 reads in the upstream's bytes, or learns that the answer failed."""
    relayed = await check_answer(reads, method=method, modern=modern)
    event(f"{relayed.exchange.outcome}")


async def test_harness_sees_a_disagreement(monkeypatch):
    """The tests above would notice: trailers that aiohttp counts among the headers of the next request."""
    reads = [b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n" + GET]
    assert len(await check_requests(reads)) == 1
    monkeypatch.setattr(request_head, "is_last", lambda _request: False)
    with pytest.raises(DisagreementError):
        await check_requests(reads)


@pytest.mark.parametrize(("reads", "understood"), REQUESTS)
async def test_harness_understands(reads, understood):
    """Right requests count, so that their absence is seen."""
    assert [each.body for each in await check_requests(reads)] == understood


@pytest.mark.parametrize(("reads", "outcome"), ANSWERS)
async def test_harness_relays(reads, outcome):
    """Whole answers are told as whole ones, others are not."""
    assert (await check_answer(reads)).exchange.outcome is outcome
