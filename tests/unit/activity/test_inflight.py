"""The table of requests in flight."""

import asyncio
from types import SimpleNamespace

from llama_swap.activity import inflight
from llama_swap.activity.inflight import InflightRequest, InflightTable


def _enter(table, **fields):
    defaults = {"model": "m", "method": "POST", "req_path": "/v1/chat/completions", "cancel": lambda: None}
    request = InflightRequest(**{**defaults, **fields})
    table.enter(request)
    return request


def test_a_request_from_arrival_to_end():
    """Watchers see it come, get its instance, be answered and leave."""
    table, frames = InflightTable(lambda: ("sk-1",)), []

    async def run():
        stop = table.subscribe(frames.append)
        answer = SimpleNamespace(headers=(), response_bytes=0)
        about = {"req_headers": [(b"X-Key", b"sk-1")], "remote_ip": "::1", "metadata": {"selector": "s"}}
        request = _enter(table, **about, answer=answer)
        answer.response_bytes = 5
        table.serve(request)
        answer.headers = [("set-cookie", "c")]
        table.answered(request)
        table.leave(request)
        table.leave(request)
        stop()
        _enter(table)

    asyncio.run(run())
    assert [frame["operation"] for frame in frames] == ["upsert", "upsert", "upsert", "remove"]
    first, second, third = (frame["request"] for frame in frames[:3])
    assert (first["id"], first["model"], first["method"], first["req_path"]) == (
        "1",
        "m",
        "POST",
        "/v1/chat/completions",
    )
    assert (first["remote_ip"], first["metadata"], first["state"]) == ("::1", {"selector": "s"}, "waiting")
    assert first["req_headers"] == {"X-Key": "[REDACTED]"}
    assert (second["state"], second["resp_bytes"]) == ("serving", 5)
    assert third["resp_headers"] == {"set-cookie": "[REDACTED]"}
    assert frames[3] == {"operation": "remove", "id": "1"}


def test_snapshot():
    """Oldest first; an empty one has no list, as llama-swap's."""
    table = InflightTable()
    assert table.snapshot() == {"operation": "snapshot"}
    first, second = _enter(table), _enter(table, model="n")
    assert [request["id"] for request in table.snapshot()["requests"]] == [first.id, second.id]
    table.leave(first)
    assert [request["model"] for request in table.snapshot()["requests"]] == ["n"]
    assert len(table) == 1


def test_cancel():
    """The request's own way to end is used, and its handler can tell why it ended."""
    table, ended = InflightTable(), []
    request = _enter(table, cancel=lambda: ended.append(True))
    assert table.cancel(request.id) is True
    assert (ended, request.cancelled) == ([True], True)
    table.leave(request)
    assert table.cancel(request.id) is False


async def test_bytes_are_reported_while_somebody_watches(monkeypatch):
    """Counts that changed are sent by a timer; one that did not is not sent again."""
    monkeypatch.setattr(inflight, "UPDATE_SECONDS", 0.001)
    table, frames, changed = InflightTable(), [], asyncio.Event()
    answer = SimpleNamespace(headers=(), response_bytes=0)
    busy, idle = _enter(table, answer=answer), _enter(table)

    def listen(frame):
        frames.append(frame)
        changed.set()

    table.serve(busy)
    table.subscribe(listen)
    for _ in range(3):
        answer.response_bytes += 10
        changed.clear()
        await asyncio.wait_for(changed.wait(), 5)
    assert [frame["request"]["resp_bytes"] for frame in frames] == [10, 20, 30]
    assert {frame["request"]["id"] for frame in frames} == {busy.id}
    table.leave(busy)
    table.leave(idle)


async def test_no_timer_while_nobody_watches():
    """Requests cost no wake-ups; a watcher that comes and goes leaves none behind."""
    table = InflightTable()
    request = _enter(table, answer=None)  # nobody looks at it
    table.serve(request)
    table.answered(request)
    assert table._timer is None
    request.answer = inflight.NO_ANSWER
    stop = table.subscribe(lambda _frame: None)
    assert table._timer is not None
    stop()
    table._timer.cancel()
    table._report_bytes()
    assert table._timer is None
