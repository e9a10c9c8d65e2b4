"""Printing never holds up the service, loses nothing while somebody reads, and says what was lost."""

import io
import os
import time

import pytest

from llama_swap.logs.stdout import StdoutWriter


def mark(dropped):
    """The line that stands for dropped ones."""
    return b"[%d dropped]\n" % dropped


@pytest.fixture
def pipe():
    """The two ends of a pipe that holds 64 KiB: a descriptor to read from and a file to write to."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stream:
        yield reading, stream
        os.close(reading)


def fill(write, line=b"x" * 1023 + b"\n"):
    """Write until lines are dropped; returns how many were not."""
    taken = 0
    while not write._dropped:
        write(line)
        taken += 1
    return taken - 1


def test_lines_arrive_at_once(pipe):
    """What is printed can be read without another word from the service."""
    reading, stream = pipe
    StdoutWriter(stream, mark)(b"one\ntwo\n")
    assert os.read(reading, 100) == b"one\ntwo\n"


def test_a_reader_that_stays_away_costs_its_time_once(pipe):
    """After the first wait a line to a stuck reader is dropped at once, however many come."""
    _, stream = pipe
    write = StdoutWriter(stream, mark)
    fill(write)
    began = time.monotonic()
    for _ in range(1000):
        write(b"more\n")
    # One wait each would be 50 s.
    assert time.monotonic() - began < 5
    assert write._dropped == 1001


def test_a_reader_that_comes_back_is_told(pipe):
    """What was written before is whole, then the number of missing lines, then what follows."""
    reading, stream = pipe
    write = StdoutWriter(stream, mark)
    taken = fill(write)
    write(b"lost\n")
    seen = os.read(reading, 1 << 20)
    write(b"back\n")
    seen += os.read(reading, 1 << 20)
    assert seen == (b"x" * 1023 + b"\n") * taken + b"[2 dropped]\nback\n"


def test_a_line_that_was_cut_is_ended_before_the_mark(pipe):
    """A line larger than what the pipe takes does not swallow the one after it."""
    reading, stream = pipe
    write = StdoutWriter(stream, mark)
    write(b"y" * 100_000 + b"\n")
    seen = os.read(reading, 1 << 20)
    write(b"next\n")
    seen += os.read(reading, 1 << 20)
    assert seen.strip(b"y") == b"\n[1 dropped]\nnext\n"


def test_each_line_that_is_dropped_counts(pipe):
    """Also of several that came together, whether they were dropped whole or cut."""
    reading, stream = pipe
    write = StdoutWriter(stream, mark)
    write((b"y" * 1023 + b"\n") * 100)
    write(b"lost\n" * 5)
    seen = os.read(reading, 1 << 20)
    write(b"back\n")
    assert seen == (b"y" * 1023 + b"\n") * 64
    assert os.read(reading, 1 << 20) == b"[41 dropped]\nback\n"


def test_a_non_blocking_stream_is_no_error(pipe):
    """Somebody who shares the stream may have made it non-blocking; lines are dropped, nothing is raised."""
    _, stream = pipe
    os.set_blocking(stream.fileno(), False)
    fill(StdoutWriter(stream, mark))


def test_a_reader_that_is_gone_is_no_error(pipe):
    """Printing into a closed pipe does nothing."""
    reading, stream = pipe
    write = StdoutWriter(stream, mark)
    other = os.open(os.devnull, os.O_RDONLY)
    # Closes the reading end, and keeps the number for the fixture to close.
    os.dup2(other, reading)
    os.close(other)
    write(b"x\n")
    write(b"x\n")


def test_a_file_gets_everything(tmp_path):
    """Output into a file is never dropped."""
    with (tmp_path / "log").open("wb") as stream:
        write = StdoutWriter(stream, mark)
        for _ in range(300):
            write(b"x" * 1023 + b"\n")
    assert (tmp_path / "log").stat().st_size == 300 * 1024


def test_a_stream_without_descriptor_is_written_to():
    """A stream in memory gets the lines as well."""
    stream = io.BytesIO()
    StdoutWriter(stream, mark)(b"x\n")
    assert stream.getvalue() == b"x\n"
