"""A file that cannot be used at the start: bounded memory in its place, and the way back."""

import asyncio
import sqlite3

import pytest
import structlog

from llama_swap.activity import shelf as shelf_module
from llama_swap.activity.database import Database, Limits
from llama_swap.activity.query import ActivityQuery
from llama_swap.activity.shelf import Shelf
from llama_swap.activity.store import Store

EVERYTHING = ActivityQuery(limit=999, ascending=True)


@pytest.fixture
def path(tmp_path):
    """A file with two rows' worth of IDs that somebody else has locked; see :func:`lock`."""
    return tmp_path / "a.db"


@pytest.fixture
def lock(path, make_row):
    """The lock on it; its rollback lets go of it."""
    database = Database(path)
    database.insert([make_row(), make_row()])
    database.close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("PRAGMA journal_mode = DELETE")
    other.execute("BEGIN EXCLUSIVE")
    yield other
    other.close()


@pytest.fixture
def told():
    """What was reported."""
    return []


@pytest.fixture
def report(told):
    """Reports into it."""
    return lambda event, **_fields: told.append(event)


def _rows(database):
    return database.page(EVERYTHING).rows


def test_the_file_takes_over_what_memory_kept(path, lock, make_row, told, report):
    """Rows keep the IDs under which clients and captures know them, behind those of the file."""
    shelf = Shelf(path, report)
    assert 0 < shelf.reopen_seconds <= shelf_module.REOPEN_SECONDS
    row_id = shelf.last_id() + 1
    shelf.database.insert([make_row(id=row_id)])
    shelf.reopen(Limits())
    assert shelf.reopen_seconds is not None
    lock.close()
    shelf.reopen(Limits())
    assert shelf.reopen_seconds is None
    assert [row.id for row in _rows(shelf.database)] == [1, 2, row_id]
    shelf.database.close()
    again = Database(path)
    assert [row.id for row in _rows(again)] == [1, 2, row_id]
    again.close()
    assert told == ["activity is kept in memory, its file cannot be used", "activity is kept in its file again"]


def test_a_file_in_use_is_not_opened_again(path, report, told):
    """Nor is memory that was asked for."""
    for shelf in (Shelf(path, report), Shelf(None, report)):
        assert (shelf.reopen_seconds, shelf.last_id()) == (None, 0)
        shelf.database.close()
    assert told == []


def test_limits_count_rows_and_not_ids(path, lock, make_row, report):
    """The gap before the IDs of rows that come from memory costs no older row."""
    shelf = Shelf(path, report)
    shelf.database.insert([make_row(id=shelf.last_id() + 1)])
    lock.close()
    shelf.reopen(Limits(max_rows=2))
    assert _rows(shelf.database)[0].id == 2
    assert len(_rows(shelf.database)) == 2
    shelf.database.close()


async def test_the_store_comes_back_by_itself(path, lock, make_row, monkeypatch):
    """Memory is bounded meanwhile, and the file is tried again without any request."""
    monkeypatch.setattr(shelf_module, "REOPEN_SECONDS", 0.01)
    back, loop = asyncio.Event(), asyncio.get_running_loop()

    def take(_logger, _level, fields):
        if fields["event"] == "activity is kept in its file again":
            loop.call_soon(back.set)
        raise structlog.DropEvent

    structlog.configure(processors=[take], cache_logger_on_first_use=False)
    store = await Store.open(path, Limits(max_rows_in_memory=3))
    ids = [store.add(make_row()) for _ in range(5)]
    assert [row.id for row in (await store.page(EVERYTHING)).rows] == ids[2:]
    lock.close()
    await asyncio.wait_for(back.wait(), 10)
    last = store.add(make_row())
    assert [row.id for row in (await store.page(EVERYTHING)).rows] == [1, 2, *ids[2:], last]
    await store.close()
    structlog.reset_defaults()
