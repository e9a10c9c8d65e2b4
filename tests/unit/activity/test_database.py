"""Rows in, rows out."""

import sqlite3
import time

import pytest

from llama_swap.activity.database import Database, Limits
from llama_swap.activity.query import SORT_COLUMNS, ActivityQuery
from llama_swap.activity.row import Outcome, Spans
from llama_swap.activity.usage import Usage


@pytest.fixture
def database():
    """An empty one in memory."""
    opened = Database(None)
    yield opened
    opened.close()


def _ids(database, **query):
    return [row.id for row in database.page(ActivityQuery(**query)).rows]


def test_a_row_comes_back_as_it_went_in(database, make_row):
    """Every field survives."""
    row = make_row(
        id=3,
        resp_content_type="text/event-stream",
        tokens=Usage(1, 2, 3, 4, 5, 6.5, 7.5),
        error_msg="bad",
        metadata={"selector": "s"},
        spans=Spans(1.5, 2.5, 3.5, 4.5),
        requested="alias",
        request_id="r",
        outcome=Outcome.CLIENT_GONE,
    )
    database.insert([row])
    assert database.page(ActivityQuery()).rows == (row,)


def test_pages(database, make_row):
    """Newest first, with totals; a page behind the last is empty."""
    database.insert([make_row(id=number) for number in range(1, 6)])
    page = database.page(ActivityQuery(limit=2, page=2))
    assert ([row.id for row in page.rows], page.total, page.total_pages) == ([3, 2], 5, 3)
    assert database.page(ActivityQuery(limit=2, page=4)).rows == ()
    assert database.page(ActivityQuery(limit=999, page=2**62)).rows == ()
    assert database.page(ActivityQuery(models=("x",))).total_pages == 0


def test_filters(database, make_row):
    """Models, times (both ends inclusive, whole seconds) and IDs (both inclusive) combine."""
    database.insert([make_row(id=n, model="ab"[n % 2], timestamp=100 + n + 0.9) for n in range(1, 7)])
    assert _ids(database, models=("a",)) == [6, 4, 2]
    assert _ids(database, models=("a", "b"), limit=2) == [6, 5]
    assert _ids(database, start_seconds=102, end_seconds=104) == [4, 3, 2]
    assert _ids(database, min_id=2, max_id=5, models=("b",)) == [5, 3]


@pytest.mark.parametrize("sort", SORT_COLUMNS)
@pytest.mark.parametrize("ascending", [False, True])
def test_every_sort_key(database, make_row, sort, ascending):
    """Rows go by the key, and equal ones by ID in the same direction."""
    steps = [2, 0, 1, 1]
    database.insert(
        [
            make_row(
                id=number,
                timestamp=step,
                model=str(step),
                req_path=str(step),
                resp_content_type=str(step),
                resp_status_code=step,
                tokens=Usage(step, step, step, step, step, step, step),
                duration_ms=step,
            )
            for number, step in enumerate(steps, 1)
        ]
    )
    by_key = [1, 2, 3, 4] if sort == "id" else [2, 3, 4, 1]
    assert _ids(database, sort=sort, ascending=ascending) == (by_key if ascending else by_key[::-1])


def test_only_the_newest_rows_are_kept(database, make_row):
    """max_rows counts from the newest; IDs go on after everything was forgotten."""
    database.insert([make_row(id=number) for number in range(1, 11)])
    database.prune(Limits(max_rows=3))
    assert _ids(database) == [10, 9, 8]
    database.prune(Limits(max_age_days=1))
    assert _ids(database) == []
    assert database.last_id() == 10


def test_age_limit(database, make_row):
    """Rows of the last days stay."""
    database.insert([make_row(id=1, timestamp=time.time() - 2 * 86400), make_row(id=2, timestamp=time.time())])
    database.prune(Limits(max_age_days=1.5))
    assert _ids(database) == [2]


def test_a_taken_id_is_replaced(database, make_row):
    """Two processes on one file lose no row."""
    database.insert([make_row(id=1)])
    assert database.insert([make_row(id=1, model="second"), make_row(id=2, model="third")]) == 0
    assert {row.model for row in database.page(ActivityQuery()).rows} == {"m", "second", "third"}


@pytest.mark.parametrize("bad", [{"model": "\ud800"}, {"duration_ms": 2**70}, {"requested": None}])
def test_a_malformed_row_takes_no_other_with_it(database, make_row, bad):
    """What SQLite cannot hold is left out and counted."""
    assert database.insert([make_row(id=1), make_row(id=2, **bad), make_row(id=3)]) == 1
    assert _ids(database) == [3, 1]


def test_a_full_disk_writes_nothing(tmp_path, make_row):
    """All rows or none, and later it goes on."""
    database = Database(tmp_path / "a.db")
    pages = database._db.execute("PRAGMA page_count").fetchone()[0]
    database._db.execute(f"PRAGMA max_page_count = {pages}")
    rows = [make_row(id=number, error_msg="e" * 4000) for number in range(1, 30)]
    with pytest.raises(sqlite3.OperationalError, match="full"):
        database.insert(rows)
    assert _ids(database) == []
    database._db.execute("PRAGMA max_page_count = 100000")
    database.insert(rows)
    assert len(_ids(database, limit=99)) == 29
    database.close()


def test_only_a_file_has_indexes(tmp_path):
    """A file may have millions of rows; in memory they are few, and an index costs each of them."""
    file, memory = Database(tmp_path / "activity.db"), Database(None)
    named = "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'activity%'"
    assert len(file._db.execute(named).fetchall()) == 2
    assert memory._db.execute(named).fetchall() == []
    file.close()
    memory.close()
