"""A request whose upstream is dying: made again where that is safe, and only there."""

import asyncio
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from aiohttp import web

from llama_swap.api import relay as relay_module
from llama_swap.api.head_notes import HeadNotes
from llama_swap.api.relay import _is_gone, _serve, relay
from llama_swap.api.visit import Visit
from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.exchange import Outgoing
from llama_swap.supervisor import Instance

OUTGOING = Outgoing("POST", "/v1/completions", (), b"{}", "m")


class Supervisor:
    """Grants one instance after the other."""

    def __init__(self):
        self.instances = []
        self.ended = []

    @contextmanager
    def lease(self, _model, *, terms):
        """One lease."""
        instance = self.instances.pop(0)
        upstream = SimpleNamespace(instance=instance)
        lease = SimpleNamespace(
            instance=instance,
            upstream=upstream,
            queue_seconds=0.0,
            load_seconds=0.0,
            served=False,
            granted_at=1.0,
            terms=terms,
        )
        try:
            yield lease
        finally:
            self.ended.append((instance.instance_id, lease.served))


@pytest.fixture
def supervisor(monkeypatch):
    """Whose instances do what their ``act`` says; it gets the exchange."""
    monkeypatch.setattr(relay_module, "_DYING_SECONDS", 0.01)

    async def forward(_request, upstream, _outgoing, exchange):
        return upstream.instance.act(exchange)

    monkeypatch.setattr(relay_module, "forward", forward)
    return Supervisor()


def add(supervisor, act, *, ends=False):
    """Another instance; ``ends`` is whether its process does."""
    instance = ActingInstance(len(supervisor.instances) + 1, None, 0.0)
    instance.act = act
    if ends:
        instance.gone.set()
    supervisor.instances.append(instance)
    return instance


class ActingInstance(Instance):
    """Has a place for what it does."""


def refuse(_exchange):
    """Nobody listens."""
    raise RequestError(Reason.UPSTREAM_FAILED, "refused", retry_after_seconds=3)


def die(exchange):
    """It took the request and broke off."""
    exchange.was_sent = True
    raise RequestError(Reason.UPSTREAM_FAILED, "died")


def answer(exchange):
    """It is well."""
    exchange.was_sent, exchange.status = True, 200
    return web.Response(text="well")


async def serve(supervisor, outgoing=OUTGOING):
    """One request."""
    visit = Visit(SimpleNamespace(supervisor=supervisor))
    return await _serve(None, visit, SimpleNamespace(id="m"), outgoing)


async def test_next_instance_serves_when_the_process_was_dying(supervisor):
    """The client of a dying process never learns of it, and that process counts as one that did not serve."""
    add(supervisor, refuse, ends=True)
    add(supervisor, answer)
    assert (await serve(supervisor)).text == "well"
    assert supervisor.ended == [(1, False), (2, True)]


async def test_refusal_of_a_living_process_is_an_error(supervisor):
    """A process that lives and does not listen is not waited for."""
    add(supervisor, refuse)
    add(supervisor, answer)
    with pytest.raises(RequestError, match="refused") as caught:
        await serve(supervisor)
    assert caught.value.retry_after_seconds == 3
    assert supervisor.ended == [(1, False)]


async def test_second_death_is_an_error(supervisor):
    """Twice is enough."""
    for _ in range(2):
        add(supervisor, refuse, ends=True)
    add(supervisor, answer)
    with pytest.raises(RequestError, match="refused"):
        await serve(supervisor)
    assert supervisor.ended == [(1, False), (2, False)]


async def test_request_that_was_sent_is_never_sent_again(supervisor):
    """It may be what killed the process."""
    add(supervisor, die, ends=True)
    add(supervisor, answer)
    with pytest.raises(RequestError, match="died"):
        await serve(supervisor)
    assert supervisor.ended == [(1, False)]


async def test_body_that_was_consumed_is_never_sent_again(supervisor):
    """Nobody has it any more."""
    add(supervisor, refuse, ends=True)
    add(supervisor, answer)
    consumed = SimpleNamespace(replayable=False)
    with pytest.raises(RequestError, match="refused"):
        await serve(supervisor, Outgoing("POST", "/x", (), consumed, "m"))
    assert supervisor.ended == [(1, False)]


async def test_no_device_for_the_next_instance(supervisor):
    """Where the first one was stopped for other programs, that is what the client is told."""
    died = add(supervisor, refuse, ends=True)

    def yielded(_exchange):
        died.yielded_because = "a game wants the device"
        raise RequestError(Reason.YIELDED, "nothing is left", retry_after_seconds=60)

    add(supervisor, yielded)
    with pytest.raises(RequestError, match="a game wants the device") as caught:
        await serve(supervisor)
    assert (caught.value.reason, caught.value.retry_after_seconds) == (Reason.YIELDED, 60)


async def test_end_of_a_process_is_waited_for_and_not_for_ever():
    """What is gone is gone at once."""
    gone = asyncio.Event()
    gone.set()
    assert await _is_gone(SimpleNamespace(gone=gone))


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("body", [b"{}", SimpleNamespace(replayable=False)])
def test_what_does_not_travel_on(monkeypatch, ours, body):
    """Our own key, and the coding of a body that was unpacked."""
    monkeypatch.setattr(relay_module, "_serve", lambda _request, _visit, _model, outgoing: outgoing)
    visit = Visit(None, HeadNotes(method="POST", has_our_key=ours))
    model = SimpleNamespace(id="m", ignore_websockets=False)
    outgoing = relay(SimpleNamespace(raw_headers=()), visit, model, target="/x", body=body)
    expected = {"authorization", "x-api-key"} if ours else set()
    assert outgoing.drop_headers == expected | ({"content-encoding"} if isinstance(body, bytes) else set())
