"""Files of other versions, and of llama-swap."""

import sqlite3

import pytest

from llama_swap.activity.database import Database
from llama_swap.activity.migrations import MIGRATIONS, NewerSchemaError
from llama_swap.activity.query import ActivityQuery
from llama_swap.activity.row import Outcome

# The columns of llama-swap v250's table, in its order.
LLAMA_SWAP = """CREATE TABLE activity (id INTEGER PRIMARY KEY AUTOINCREMENT, ts_created INTEGER NOT NULL,
    model_id TEXT NOT NULL, req_path TEXT NOT NULL DEFAULT '', resp_content_type TEXT NOT NULL DEFAULT '',
    resp_status_code INTEGER NOT NULL DEFAULT 0, cache_tokens INTEGER NOT NULL DEFAULT 0,
    draft_tokens INTEGER NOT NULL DEFAULT 0, draft_acc_tokens INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0, output_tokens INTEGER NOT NULL DEFAULT 0,
    prompt_per_second REAL NOT NULL DEFAULT 0, tokens_per_second REAL NOT NULL DEFAULT 0,
    duration_ms INTEGER NOT NULL DEFAULT 0, error_msg TEXT NOT NULL DEFAULT '',
    metadata_json TEXT NOT NULL DEFAULT '')"""
LLAMA_SWAP_INSERT = "INSERT INTO activity (ts_created, model_id, req_path, input_tokens) VALUES (5, 'old', '/x', 3)"


def _close(connection):
    connection.commit()
    connection.close()


def test_a_file_of_llama_swap_is_taken_over(tmp_path, make_row):
    """Its rows stay, IDs go on, and llama-swap can still write into it."""
    path = tmp_path / "activity.db"
    db = sqlite3.connect(path)
    db.execute(LLAMA_SWAP)
    db.execute(LLAMA_SWAP_INSERT)
    _close(db)
    database = Database(path)
    assert database.last_id() == 1
    database.insert([make_row(id=2)])
    old, new = database.page(ActivityQuery(ascending=True)).rows
    assert (old.model, old.tokens.input_tokens, old.outcome, old.spans.queue_ms) == ("old", 3, Outcome.OK, -1)
    assert new.model == "m"
    database.close()
    db = sqlite3.connect(path)
    db.execute(LLAMA_SWAP_INSERT)
    _close(db)


def test_a_step_that_was_done_is_not_done_again(tmp_path, make_row):
    """Opening twice changes nothing."""
    path = tmp_path / "activity.db"
    for row_id in (1, 2):
        database = Database(path)
        database.insert([make_row(id=row_id)])
        assert database.page(ActivityQuery()).total == row_id
        database.close()


def test_every_older_schema_becomes_the_current_one(tmp_path, make_row):
    """A file may have stopped at any step."""
    for done in range(len(MIGRATIONS)):
        path = tmp_path / f"{done}.db"
        db = sqlite3.connect(path)
        for step in MIGRATIONS[:done]:
            step(db)
        db.execute(f"PRAGMA user_version = {done}")
        _close(db)
        database = Database(path)
        database.insert([make_row(id=1)])
        database.close()


def test_a_newer_file_is_left_alone(tmp_path):
    """After a downgrade nothing is destroyed."""
    path = tmp_path / "activity.db"
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    _close(db)
    with pytest.raises(NewerSchemaError):
        Database(path)
