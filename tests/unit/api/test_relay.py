"""A request whose upstream is dying: made again where that is safe, and only there."""

import asyncio

import pytest
from aiohttp import web

from llama_swap.api import relay as relay_module
from llama_swap.api.relay import _is_gone, _NeverSentError
from llama_swap.errors import Reason, RequestError


class Process:
    """The part of an instance that tells its end."""

    def __init__(self, *, ends):
        self.gone = asyncio.Event()
        if ends:
            self.gone.set()


@pytest.fixture
def attempts(monkeypatch):
    """What each attempt to serve does; the answers are given in order."""
    outcomes = []

    async def serve(*_arguments):
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(relay_module, "_serve", serve)
    monkeypatch.setattr(relay_module, "_DYING_SECONDS", 0.01)
    return outcomes


def never_sent(*, ends):
    """An upstream that could not be connected to, whose process ends or does not."""
    return _NeverSentError(RequestError(Reason.UPSTREAM_FAILED, "refused"), Process(ends=ends))


async def test_next_instance_serves_when_the_process_was_dying(attempts):
    """The client of a dying process never learns of it."""
    answer = web.Response()
    attempts.extend([never_sent(ends=True), answer])
    assert await relay_module._serve_in_spite_of_a_death(None, None, None, None, None) is answer


async def test_refusal_of_a_living_process_is_an_error(attempts):
    """A process that lives and does not listen is not waited for."""
    attempts.extend([never_sent(ends=False), web.Response()])
    with pytest.raises(RequestError, match="refused"):
        await relay_module._serve_in_spite_of_a_death(None, None, None, None, None)
    assert len(attempts) == 1


async def test_second_death_is_an_error(attempts):
    """Twice is enough."""
    attempts.extend([never_sent(ends=True), never_sent(ends=True), web.Response()])
    with pytest.raises(RequestError, match="refused"):
        await relay_module._serve_in_spite_of_a_death(None, None, None, None, None)
    assert len(attempts) == 1


async def test_request_that_was_sent_is_never_sent_again(attempts):
    """It may be what killed the process."""
    attempts.extend([RequestError(Reason.UPSTREAM_FAILED, "died"), web.Response()])
    with pytest.raises(RequestError, match="died"):
        await relay_module._serve_in_spite_of_a_death(None, None, None, None, None)
    assert len(attempts) == 1


async def test_end_of_a_process_is_waited_for_and_not_for_ever():
    """What is gone is gone at once."""
    assert await _is_gone(Process(ends=True))
