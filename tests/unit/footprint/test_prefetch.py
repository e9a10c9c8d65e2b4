"""Files read ahead: no more than there is room for, and no longer than anybody wants it."""

import asyncio
import os
import threading
from contextlib import asynccontextmanager

import pytest

from llama_swap.footprint import prefetch
from llama_swap.footprint.prefetch import CHUNK_BYTES, ReadAhead, Room

GIB = 1 << 30


class Rooms(Room):
    """Room as a test wants it; notes how often somebody looked."""

    def __init__(self, *sizes):
        super().__init__()
        self.sizes = list(sizes)
        self.looked = threading.Event()
        self.goes_on = threading.Event()
        self.goes_on.set()

    def free_bytes(self):
        """The next size; the last one for ever."""
        self.looked.set()
        self.goes_on.wait(60)
        return self.sizes.pop(0) if len(self.sizes) > 1 else self.sizes[0]


@pytest.fixture
def write(tmp_path):
    """``write(name, chunks)`` makes a file of so many chunks; half of one is possible."""

    def make(name, chunks):
        path = tmp_path / name
        path.touch()
        os.truncate(path, int(chunks * CHUNK_BYTES))
        return path

    return make


async def test_files_are_read_to_their_ends(write):
    """One after the other."""
    files = [write("a", 2.5), write("b", 1), write("empty", 0)]
    read = await ReadAhead(room=Rooms(GIB)).read(files)
    assert read.bytes_read == int(3.5 * CHUNK_BYTES)
    assert read.stopped == ""
    assert read.seconds >= 0


async def test_no_more_is_read_than_there_is_room_for(write):
    """What others need stays free."""
    read = await ReadAhead(room=Rooms(3 * CHUNK_BYTES)).read([write("a", 2), write("b", 5)])
    assert (read.bytes_read, read.stopped) == (3 * CHUNK_BYTES, "no room")


async def test_what_was_read_is_no_new_room(write, monkeypatch):
    """The page cache counts as free, so the figure does not fall; a file larger than the memory must end anyway."""
    monkeypatch.setattr(prefetch, "CHECKED_EVERY_BYTES", CHUNK_BYTES)
    read = await ReadAhead(room=Rooms(3 * CHUNK_BYTES)).read([write("a", 9)])
    assert (read.bytes_read, read.stopped) == (3 * CHUNK_BYTES, "no room")


async def test_room_that_vanishes_is_noticed(write, monkeypatch):
    """Another program needs memory meanwhile."""
    monkeypatch.setattr(prefetch, "CHECKED_EVERY_BYTES", CHUNK_BYTES)
    read = await ReadAhead(room=Rooms(GIB, GIB, 2 * CHUNK_BYTES, 0)).read([write("a", 9)])
    assert (read.bytes_read, read.stopped) == (2 * CHUNK_BYTES, "no room")


@asynccontextmanager
async def held_up(path):
    """A file is being read, and gets no further before the end: the tasks, who reads, and the reading."""
    room = Rooms(GIB)
    room.goes_on.clear()
    ahead = ReadAhead(room=room)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(ahead.read([path]))
        await asyncio.to_thread(room.looked.wait, 60)
        yield tasks, ahead, reading
        room.goes_on.set()


async def test_reading_can_be_cancelled(write):
    """Between two chunks."""
    async with held_up(write("a", 9)) as (_, ahead, reading):
        ahead.cancel()
    assert (reading.result().bytes_read, reading.result().stopped) == (0, "cancelled")


async def test_a_newer_reading_stops_an_older_one(write):
    """One at a time; the next model is the one that counts."""
    async with held_up(write("a", 9)) as (tasks, ahead, older):
        newer = tasks.create_task(ahead.read([write("b", 2)]))
        await asyncio.sleep(0)  # so that it has begun
    assert older.result().stopped == "cancelled"
    assert newer.result().bytes_read == 2 * CHUNK_BYTES


async def test_a_reader_that_is_cancelled_stops_its_thread(write):
    """Nobody waits for it any more."""
    async with held_up(write("a", 9)) as (_, ahead, reading):
        reading.cancel()
    assert reading.cancelled()
    assert ahead._current is not None
    assert ahead._current.is_set()


async def test_cancelling_nothing_is_nothing():
    """At the end of a start that read nothing."""
    ReadAhead().cancel()


async def test_what_cannot_be_read_is_passed_over(write, tmp_path):
    """The model will say so itself; and nothing but files is read."""
    os.mkfifo(tmp_path / "pipe")
    files = [tmp_path / "missing", tmp_path, tmp_path / "pipe", write("a", 1)]
    read = await ReadAhead(room=Rooms(GIB)).read(files)
    assert (read.bytes_read, read.stopped) == (CHUNK_BYTES, "")


@pytest.fixture
def machine(tmp_path):
    """``machine(available, {group: (max, current, inactive)})`` is a machine's /proc and its control groups."""

    def make(available, groups=None, own="0::/system.slice/llama-swap.service/service"):
        proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
        (proc / "self").mkdir(parents=True)
        if available is not None:
            (proc / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {available >> 10} kB\n")
        (proc / "self" / "cgroup").write_text(f"{own}\n")
        cgroups.mkdir()
        for name, (limit, current, inactive) in (groups or {}).items():
            folder = cgroups / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "memory.max").write_text(f"{limit}\n")
            (folder / "memory.current").write_text(f"{current}\n")
            (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")
        return Room(GIB, proc, cgroups)

    return make


def test_the_machine_keeps_a_reserve(machine):
    """What is available less a part for everybody else."""
    assert machine(10 * GIB).free_bytes() == 9 * GIB


def test_room_is_never_negative(machine):
    """A machine that is short of memory."""
    assert machine(GIB // 2).free_bytes() == 0


def test_a_machine_that_hides_its_memory_has_no_room(machine):
    """ProcSubset=pid hides /proc/meminfo: then nothing is read ahead."""
    assert machine(None).free_bytes() == 0


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({"system.slice/llama-swap.service": (6 * GIB, 2 * GIB, 0)}, 3),
        ({"system.slice/llama-swap.service": (6 * GIB, 4 * GIB, 2 * GIB)}, 3),
        ({"system.slice/llama-swap.service": ("max", 4 * GIB, 0)}, 9),
        ({"system.slice": (4 * GIB, 2 * GIB, 0), "system.slice/llama-swap.service": ("max", 0, 0)}, 1),
        ({"system.slice/other.service": (1, 1, 0)}, 9),
    ],
)
def test_limits_of_control_groups_count(machine, groups, expected):
    """Of ours and all above it; old pages of files that nobody needs make way."""
    assert machine(10 * GIB, groups).free_bytes() == expected * GIB


def test_a_group_outside_of_ours_is_not_looked_at(machine):
    """A path from the kernel is not followed out of its tree."""
    assert machine(10 * GIB, own="0::/../../etc").free_bytes() == 9 * GIB


def test_this_machine_has_an_answer():
    """With the real files."""
    assert Room().free_bytes() >= 0
