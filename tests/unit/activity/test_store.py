"""The store's thread: order, limits, restarts and what happens when the file cannot be written."""

import asyncio
import sqlite3
import time
from contextlib import closing, contextmanager

import pytest
import structlog

from llama_swap.activity import store as store_module
from llama_swap.activity.database import Database, Limits
from llama_swap.activity.query import ActivityQuery
from llama_swap.activity.store import Store

EVERYTHING = ActivityQuery(limit=999, ascending=True)


class Log:
    """What the store reported, and a way to wait for more."""

    def __init__(self):
        self.lines = []
        self._added = asyncio.Event()

    def take(self, _logger, level, fields):
        """A processor of structlog."""
        self.lines.append({**fields, "level": level})
        self._added.set()
        raise structlog.DropEvent

    def events(self):
        """The lines' texts."""
        return [line["event"] for line in self.lines]

    async def wait(self, event):
        """Return when a line with this text was written."""
        async with asyncio.timeout(10):
            while event not in self.events():
                self._added.clear()
                await self._added.wait()


@pytest.fixture
def log():
    """The log of this test alone."""
    kept = Log()
    structlog.configure(processors=[kept.take], cache_logger_on_first_use=False)
    yield kept
    structlog.reset_defaults()


@contextmanager
def locked(path):
    """Another program has the file for itself."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


async def _ids(store):
    return [row.id for row in (await store.page(EVERYTHING)).rows]


async def test_a_row_is_in_every_later_answer(make_row):
    """IDs are given at once and count up, and a question comes after the rows before it."""
    store = await Store.open(None, Limits())
    assert [store.add(make_row()) for _ in range(3)] == [1, 2, 3]
    assert await _ids(store) == [1, 2, 3]
    assert (await store.stats("m")).total_requests == 3
    await store.close()


async def test_rows_are_written_without_being_asked_for(tmp_path, make_row):
    """They are handed to the thread by a timer."""
    store = await Store.open(tmp_path / "a.db", Limits())
    written = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    store.add(make_row(), lambda _row: loop.call_soon_threadsafe(written.set_result, None))
    await asyncio.wait_for(written, 5)
    await store.close()


async def test_memory_is_bounded(make_row):
    """Only the newest rows are kept, also across several batches."""
    store = await Store.open(None, Limits(max_rows=5))
    for _ in range(600):
        store.add(make_row())
    assert await _ids(store) == [596, 597, 598, 599, 600]
    store.limits = Limits(max_rows=2)
    store.add(make_row())
    assert await _ids(store) == [600, 601]
    await store.close()


async def test_a_file_survives(tmp_path, make_row):
    """Rows and the count of IDs are there after a restart."""
    path = tmp_path / "a.db"
    for expected in ([1, 2], [1, 2, 3, 4]):
        store = await Store.open(path, Limits())
        store.add(make_row())
        store.add(make_row())
        await store.close()
        store = await Store.open(path, Limits())
        assert await _ids(store) == expected
        await store.close()


async def test_closing_is_quick_and_complete(tmp_path, make_row):
    """What was added a moment before is written; questions afterwards are refused."""
    store = await Store.open(tmp_path / "a.db", Limits())
    for _ in range(2000):
        store.add(make_row())
    started = time.monotonic()
    await store.close()
    assert time.monotonic() - started < 1
    database = Database(tmp_path / "a.db")
    assert database.page(ActivityQuery()).total == 2000
    database.close()
    with pytest.raises(sqlite3.ProgrammingError):
        await store.page(EVERYTHING)


async def test_completion_runs_elsewhere_and_may_fail(make_row, log):
    """What completes a row may take long or raise; the row is kept."""
    store = await Store.open(None, Limits())
    store.add(make_row(), lambda row: setattr(row, "error_msg", f"from {row.id}"))
    store.add(make_row(), lambda _row: 1 / 0)
    rows = (await store.page(EVERYTHING)).rows
    assert [row.error_msg for row in rows] == ["from 1", ""]
    assert log.events() == ["activity row not completed"]
    await store.close()


@pytest.fixture
def quick_retry(monkeypatch):
    """Failed writes are tried again after a moment."""
    monkeypatch.setattr(store_module, "_RETRY_SECONDS", 0)


@pytest.mark.usefixtures("quick_retry")
async def test_a_locked_file_costs_nothing_but_time(tmp_path, make_row, log):
    """Adding goes on, the log says it once, and the rows are written when the lock is gone."""
    path = tmp_path / "a.db"
    store = await Store.open(path, Limits())
    await store.page(EVERYTHING)
    with locked(path):
        store.add(make_row())
        await log.wait("activity not written, trying again")
        store.add(make_row())
        assert await _ids(store) == []
    await log.wait("activity written again")
    assert await _ids(store) == [1, 2]
    assert len(log.lines) == 2
    await store.close()


@pytest.mark.usefixtures("quick_retry")
async def test_a_file_that_stays_locked_does_not_hold_up_the_end(tmp_path, make_row, log):
    """Closing gives up after a second and says what is lost."""
    path = tmp_path / "a.db"
    store = await Store.open(path, Limits())
    with locked(path):
        store.add(make_row())
        started = time.monotonic()
        await store.close()
        assert time.monotonic() - started < 1.5
    assert {"event": "activity lost", "rows": 1, "level": "error"} in log.lines


async def test_closing_tries_once_more(tmp_path, make_row, log, monkeypatch):
    """Whatever the time of the next attempt is."""
    monkeypatch.setattr(store_module, "_RETRY_SECONDS", 600)
    path = tmp_path / "a.db"
    store = await Store.open(path, Limits())
    with locked(path):
        store.add(make_row())
        await log.wait("activity not written, trying again")
    await store.close()
    store = await Store.open(path, Limits())
    assert await _ids(store) == [1]
    await store.close()


@pytest.mark.usefixtures("quick_retry")
async def test_what_piles_up_is_bounded(tmp_path, make_row, monkeypatch, log):
    """While nothing can be written the oldest rows are given up, and counted."""
    monkeypatch.setattr(store_module, "_MOST_WAITING", 3)
    path = tmp_path / "a.db"
    store = await Store.open(path, Limits())
    with locked(path):
        for _ in range(5):
            store.add(make_row())
        store._hand_over()
        await log.wait("activity not written, trying again")
    await log.wait("activity written again")
    assert await _ids(store) == [3, 4, 5]
    assert log.lines[-1]["lost"] == 2
    await store.close()


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, None])
async def test_a_file_that_cannot_be_used(tmp_path, make_row, content, log):
    """A file of something else, or a folder in its place: the service runs, the log says why."""
    path = tmp_path / "a.db"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    store = await Store.open(path, Limits())
    store.add(make_row())
    assert len(await _ids(store)) == 1
    await store.close()
    assert log.events()[0] == "activity is kept in memory, its file cannot be used"
    if content is not None:
        assert path.read_bytes() == content


async def test_captures_are_handed_over_in_small_batches(make_row):
    """What takes long does not pile up until the timer fires."""
    store = await Store.open(None, Limits())
    for _ in range(store_module._HAND_OVER_COMPLETIONS):
        store.add(make_row(), lambda _row: None)
    assert store._fresh == []
    await store.close()
