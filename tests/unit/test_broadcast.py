"""One stream to many listeners."""

import asyncio

import pytest

from llama_swap.broadcast import Broadcast


async def take(listener):
    """What there is now; fails if there is nothing."""
    return await asyncio.wait_for(anext(listener), 1)


async def test_everybody_gets_everything_from_now_on():
    """And each begins with what is only for it."""
    broadcast = Broadcast()
    with broadcast.listen(b"<one>") as one:
        broadcast.publish(b"a")
        with broadcast.listen(b"<two>") as two:
            broadcast.publish(b"b")
            assert await take(one) == b"<one>ab"
            assert await take(two) == b"<two>b"


async def test_a_listener_waits_for_the_next_frame():
    """Nothing is given twice."""
    broadcast = Broadcast()
    with broadcast.listen() as listener:
        broadcast.publish(b"a")
        assert await take(listener) == b"a"
        waiting = asyncio.get_running_loop().create_task(take(listener))
        await asyncio.sleep(0)
        assert not waiting.done()
        broadcast.publish(b"b")
        assert await waiting == b"b"


async def test_a_slow_listener_loses_frames_and_is_then_told_the_state():
    """After the gap come no old frames, but the whole picture; the others lose nothing."""
    broadcast = Broadcast(limit_bytes=2)
    with broadcast.listen(catch_up=lambda dropped: b"<state after %d>" % dropped) as slow, broadcast.listen() as quick:
        seen = b""
        for frame in (b"1", b"2", b"3", b"4"):
            broadcast.publish(frame)
            seen += await take(quick)
        assert seen == b"1234"
        assert await take(slow) == b"12<state after 2>"
        broadcast.publish(b"5")
        assert await take(slow) == b"5"


async def test_the_beginning_takes_no_room():
    """A long history does not cost the first live pieces, and a piece beyond all room is dropped at once."""
    broadcast = Broadcast(limit_bytes=2)
    with broadcast.listen(b"history", catch_up=lambda _: b"?") as listener:
        broadcast.publish(b"ab")
        assert await take(listener) == b"historyab"
        broadcast.publish(b"abc")
        broadcast.publish(b"a")
        assert await take(listener) == b"?"


async def test_a_sink_hears_at_once():
    """Until it is stopped."""
    broadcast, heard = Broadcast(), []
    stop = broadcast.forward(heard.append)
    assert broadcast
    broadcast.publish(b"a")
    stop()
    broadcast.publish(b"b")
    assert (heard, len(broadcast)) == ([b"a"], 0)


async def test_leaving():
    """Who left gets nothing and costs nothing."""
    broadcast = Broadcast()
    with broadcast.listen() as listener:
        assert broadcast
        assert len(broadcast) == 1
    assert not broadcast
    broadcast.publish(b"a")
    assert not listener._pending


async def test_the_end():
    """Listeners get what is pending and end; one that comes later gets its beginning and ends."""
    broadcast = Broadcast()
    with broadcast.listen() as listener:
        broadcast.publish(b"a")
        broadcast.close()
        assert await take(listener) == b"a"
        with pytest.raises(StopAsyncIteration):
            await take(listener)
    with broadcast.listen(b"late") as late:
        assert [chunk async for chunk in late] == [b"late"]
