"""Lines out of pipes."""

import asyncio
import os
import select

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.process import output
from llama_swap.process.output import LINE_LIMIT_BYTES, LineReader, OutputTail


@pytest.fixture
async def pipe():
    """A pipe with a reader on it: the lines so far, and the end to write to."""
    read, write = os.pipe()
    lines = []
    reader = LineReader(read, lines.append)
    yield lines, write, reader
    reader.finish()


async def until(is_so):
    """Passes of the loop until a condition holds."""
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110  (the reader has no event to wait for, and it is a few passes)
            await asyncio.sleep(0)


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"\n", b"a\nb", b"\n\n"]), max_size=20))
def test_however_the_bytes_arrive_the_lines_are_the_same(pieces):
    """The pieces that a pipe delivers have nothing to do with lines."""

    async def run():
        read, write = os.pipe()
        lines = []
        reader = LineReader(read, lines.append)
        for piece in pieces:
            os.write(write, piece)
            await asyncio.sleep(0)
        os.close(write)
        reader.finish()
        return lines

    text = b"".join(pieces)
    assert asyncio.run(run()) == text.removesuffix(b"\n").split(b"\n") if text else asyncio.run(run()) == []


async def test_an_endless_line_comes_in_pieces(pipe):
    """A child that never ends its line must not fill our memory."""
    lines, write, reader = pipe
    for _ in range(5):
        os.write(write, b"x" * (LINE_LIMIT_BYTES // 2))
        await until(lambda: not select.select([reader._fd], [], [], 0)[0])
    os.close(write)
    reader.finish()
    assert max(map(len, lines)) <= LINE_LIMIT_BYTES
    assert sum(map(len, lines)) == 5 * LINE_LIMIT_BYTES // 2
    assert len(lines) == 3


async def test_a_pipe_that_somebody_else_holds_open_is_closed_all_the_same(pipe):
    """What is in it is read, and the reader does not wait for more."""
    lines, write, reader = pipe
    os.write(write, b"one\ntwo")
    reader.finish()
    assert lines == [b"one", b"two"]
    with pytest.raises(BrokenPipeError):
        os.write(write, b"three")
    os.close(write)


async def test_who_floods_is_read_more_slowly(monkeypatch):
    """After the burst, bytes are taken at the rate and no faster; nothing is lost."""
    monkeypatch.setattr(output, "BURST_BYTES", 10_000)
    monkeypatch.setattr(output, "RATE_BYTES_PER_SECOND", 100_000)
    read, write = os.pipe()
    lines = []
    loop = asyncio.get_running_loop()
    reader = LineReader(read, lines.append)
    began = loop.time()
    for _ in range(2):
        os.write(write, b"y" * 14_999 + b"\n")
        await until(lambda: reader._pause is not None)
        await until(lambda: reader._pause is None)
    assert loop.time() - began >= 0.15
    os.close(write)
    reader.finish()
    assert sum(map(len, lines)) == 2 * 14_999


async def test_empty_lines_cost_as_well(monkeypatch):
    """A flood of newlines is few bytes and much work."""
    monkeypatch.setattr(output, "BURST_BYTES", 10_000)
    read, write = os.pipe()
    lines = []
    reader = LineReader(read, lines.append)
    os.write(write, b"\n" * 1000)
    await until(lambda: lines)
    assert reader._pause is not None
    os.close(write)
    reader.finish()


def test_the_tail_keeps_the_end_and_cuts_long_lines():
    """Twenty lines of at most a thousand characters go into an error message."""
    tail = OutputTail()
    for number in range(25):
        tail.add(b"%d" % number)
    tail.add("é".encode() * 5000 + b"\xff")
    assert len(tail.lines()) == 20
    assert tail.lines()[0] == "6"
    assert tail.lines()[-1] == "é" * 1000
