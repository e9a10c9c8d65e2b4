"""The log hub: what is kept, what live readers get, and that nothing grows without bound."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.logs import COMBINED, HISTORY_BYTES, PROXY, UPSTREAM, LogHub, StdoutChoice


async def everything(reader):
    """What a reader still gets once the hub is closed."""
    return b"".join([chunk async for chunk in reader])


async def everything_until(reader, mark):
    """What a reader gets up to a mark."""
    seen = b""
    while mark not in seen:
        seen += await anext(reader)
    return seen


def test_a_line_of_a_model_is_in_its_log_and_in_upstream():
    """A model's output is kept for itself and for all models, not among the service's own lines."""
    hub = LogHub()
    hub.write_upstream("org/a", b"from a")
    hub.write_upstream("b", b"from b\n")
    assert hub.history("org/a") == b"from a\n"
    assert hub.history(UPSTREAM) == b"from a\nfrom b\n"
    assert hub.history(PROXY) == b""


@pytest.mark.parametrize(
    ("choice", "combined"),
    [
        (StdoutChoice.PROXY, b"own\n"),
        (StdoutChoice.UPSTREAM, b"theirs\n"),
        (StdoutChoice.BOTH, b"own\ntheirs\n"),
        (StdoutChoice.NONE, b""),
    ],
)
def test_the_combined_log_holds_what_is_printed(choice, combined):
    """The combined log follows ``logToStdout``."""
    hub = LogHub(to_stdout=choice)
    hub.write_proxy("own")
    hub.write_upstream("m", b"theirs")
    assert hub.history(COMBINED) == combined


def test_output_of_models_is_echoed_only_if_it_is_printed():
    """Only with ``upstream`` or ``both`` does the hub ask for a model's line to be printed."""
    hub, echoed = LogHub(), []
    hub.print_on_stdout(StdoutChoice.PROXY, lambda *line: echoed.append(line))
    hub.write_upstream("m", b"one")
    hub.print_on_stdout(StdoutChoice.UPSTREAM, lambda *line: echoed.append(line))
    hub.write_upstream("m", b"two")
    assert echoed == [("m", b"two\n")]


def test_a_model_named_like_a_log_does_not_write_into_it():
    """A model called ``proxy`` cannot put lines into the service's own log."""
    hub = LogHub()
    hub.write_upstream("proxy", b"x")
    assert hub.history(PROXY) == b""
    assert hub.history(UPSTREAM) == b"x\n"


def test_known_is_what_can_be_read():
    """The fixed logs are always known, a model's once it wrote something."""
    hub = LogHub()
    hub.write_upstream("m", b"x")
    assert [hub.known(name) for name in (COMBINED, PROXY, UPSTREAM, "m", "nobody")] == [True, True, True, True, False]


@given(st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b".")), max_size=60))
def test_a_ring_keeps_the_newest_whole_lines(lines):
    """Whatever is written, a ring holds at most its size, and exactly the last lines that fit."""
    hub = LogHub(history_bytes=100)
    for line in lines:
        hub.write_upstream("m", line)
    kept, expected = hub.history("m"), b""
    for line in reversed(lines):
        if len(expected) + len(line) + 1 > 100:
            break
        expected = line + b"\n" + expected
    assert kept == expected


def test_a_line_longer_than_the_ring_keeps_its_end():
    """A giant line does not empty the log: its end stays."""
    hub = LogHub(history_bytes=10)
    hub.write_upstream("m", b"before")
    hub.write_upstream("m", b"0123456789abcdef")
    assert hub.history("m") == b"789abcdef\n"


def test_the_default_ring_is_that_of_llama_swap():
    """100 KiB are kept of each log."""
    hub = LogHub()
    for number in range(20_000):
        hub.write_proxy(f"line {number}")
    assert HISTORY_BYTES - 20 < len(hub.history(PROXY)) <= HISTORY_BYTES == 102_400


async def test_a_reader_gets_history_and_then_live_lines():
    """Nothing is lost or given twice between what is kept and what follows."""
    hub = LogHub()
    hub.write_upstream("m", b"old")
    with hub.subscribe("m", history=True) as reader:
        assert await anext(reader) == b"old\n"
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(everything_until(reader, b"new\n"))
            await asyncio.sleep(0)
            assert not waiting.done()
            hub.write_upstream("m", b"new")
        assert waiting.result() == b"new\n"


async def test_a_reader_without_history_gets_only_what_follows():
    """A reader that wants no history begins with the next line."""
    hub = LogHub()
    hub.write_proxy("old")
    with hub.subscribe(PROXY) as reader:
        hub.write_proxy("new")
        assert await anext(reader) == b"new\n"


async def test_a_model_can_be_followed_before_it_writes():
    """One can follow a model that was never started."""
    hub = LogHub()
    with hub.subscribe("m", history=True) as reader:
        hub.write_upstream("m", b"first")
        assert await anext(reader) == b"first\n"


async def test_a_slow_reader_loses_lines_and_is_told():
    """What waits for a reader is bounded; the mark sits where lines are missing, and what follows comes through."""
    hub = LogHub(history_bytes=10, pending_bytes=20)
    with hub.subscribe(PROXY) as slow, hub.subscribe(PROXY) as other:
        for number in range(30):
            hub.write_proxy(f"line {number:03}")
            if number == 1:
                assert await anext(other) == b"line 000\nline 001\n"
        assert await anext(slow) == b"line 000\nline 001\n[28 lines dropped: this reader is too slow]\n"
        hub.write_proxy("after")
        assert await anext(slow) == b"after\n"
        assert (await anext(other)).startswith(b"line 002\nline 003\n[27 lines dropped")


async def test_after_a_gap_no_small_line_slips_in_before_the_mark():
    """Once a line was dropped, a shorter one that would fit is dropped too, so that lines keep their order."""
    hub = LogHub(history_bytes=10, pending_bytes=12)
    with hub.subscribe(PROXY) as slow:
        for line in ("12345678", "12345678", "x"):
            hub.write_proxy(line)
        assert await anext(slow) == b"12345678\n[2 lines dropped: this reader is too slow]\n"


async def test_leaving_frees_the_reader():
    """A reader that left gets nothing more and is not held."""
    hub = LogHub()
    with hub.subscribe(PROXY) as reader:
        pass
    hub.write_proxy("x")
    assert reader._take() == b""
    assert not hub._fixed[PROXY].readers


async def test_close_ends_readers_after_what_was_written():
    """At shutdown every stream ends, with its last lines, and new ones end at once; writing still works."""
    hub = LogHub()
    hub.write_proxy("old")
    with hub.subscribe(PROXY, history=True) as before, hub.subscribe("m") as waiting:
        hub.close()
        assert await everything(before) == b"old\n"
        assert await everything(waiting) == b""
    with hub.subscribe(PROXY, history=True) as late:
        assert await everything(late) == b"old\n"
    hub.write_proxy("last")
    assert hub.history(PROXY) == b"old\nlast\n"


async def test_a_reader_that_waits_is_woken_by_close():
    """A reader without pending lines does not hang at shutdown."""
    hub = LogHub()
    with hub.subscribe(PROXY) as reader:
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(everything(reader))
            await asyncio.sleep(0)
            hub.close()
        assert waiting.result() == b""


async def test_logs_of_removed_models_are_forgotten_unless_followed():
    """After a reload a model that is gone takes no memory, but its readers are not cut."""
    hub = LogHub()
    for model in ("kept", "gone", "followed"):
        hub.write_upstream(model, b"x")
    with hub.subscribe("followed"):
        hub.keep_models({"kept"})
        assert [hub.known(model) for model in ("kept", "gone", "followed")] == [True, False, True]
    hub.keep_models({"kept"})
    assert not hub.known("followed")
