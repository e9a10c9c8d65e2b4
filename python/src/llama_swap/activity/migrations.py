"""The tables of the activity store, and how an older file becomes a current one.

The table has llama-swap's name and columns, so a file written by llama-swap v250 is taken over with its rows, and one
written by us can still be read by it. Each step may meet a file that has parts of it already.
"""

import sqlite3
from collections.abc import Callable, Sequence


class NewerSchemaError(sqlite3.DatabaseError):
    """The file was written by a newer version of this service."""


def _llama_swap_table(db: sqlite3.Connection) -> None:
    db.execute(
        """CREATE TABLE IF NOT EXISTS activity (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            ts_created INTEGER NOT NULL,
            model_id TEXT NOT NULL,
            req_path TEXT NOT NULL DEFAULT '',
            resp_content_type TEXT NOT NULL DEFAULT '',
            resp_status_code INTEGER NOT NULL DEFAULT 0,
            cache_tokens INTEGER NOT NULL DEFAULT 0,
            draft_tokens INTEGER NOT NULL DEFAULT 0,
            draft_acc_tokens INTEGER NOT NULL DEFAULT 0,
            input_tokens INTEGER NOT NULL DEFAULT 0,
            output_tokens INTEGER NOT NULL DEFAULT 0,
            prompt_per_second REAL NOT NULL DEFAULT 0,
            tokens_per_second REAL NOT NULL DEFAULT 0,
            duration_ms INTEGER NOT NULL DEFAULT 0,
            error_msg TEXT NOT NULL DEFAULT '',
            metadata_json TEXT NOT NULL DEFAULT ''
        )"""
    )
    db.execute("CREATE INDEX IF NOT EXISTS activity_by_time ON activity (ts_created)")
    db.execute("CREATE INDEX IF NOT EXISTS activity_by_model ON activity (model_id, ts_created)")


def _own_columns(db: sqlite3.Connection) -> None:
    present = {row[1] for row in db.execute("PRAGMA table_info(activity)")}
    for name, definition in {
        "ts_milliseconds": "INTEGER NOT NULL DEFAULT 0",
        "queue_ms": "REAL NOT NULL DEFAULT -1",
        "load_ms": "REAL NOT NULL DEFAULT -1",
        "first_token_ms": "REAL NOT NULL DEFAULT -1",
        "generation_ms": "REAL NOT NULL DEFAULT -1",
        "outcome": "TEXT NOT NULL DEFAULT 'ok'",
        "requested": "TEXT NOT NULL DEFAULT ''",
        "request_id": "TEXT NOT NULL DEFAULT ''",
    }.items():
        if name not in present:
            db.execute(f"ALTER TABLE activity ADD COLUMN {name} {definition}")


def drop_indexes(db: sqlite3.Connection) -> None:
    """For rows in memory: they are few and quickly looked at, and with indexes each would cost half as much again."""
    db.execute("DROP INDEX IF EXISTS activity_by_time")
    db.execute("DROP INDEX IF EXISTS activity_by_model")


MIGRATIONS: Sequence[Callable[[sqlite3.Connection], None]] = (_llama_swap_table, _own_columns)
"""In order; ``PRAGMA user_version`` counts how many a file has behind it. Only ever append."""


def migrate(db: sqlite3.Connection) -> None:
    """Bring a file up to date, in one transaction.

    Raises:
        NewerSchemaError: a newer version wrote it.
        sqlite3.Error: it cannot be read or written.
    """
    done = int(db.execute("PRAGMA user_version").fetchone()[0])
    if done > len(MIGRATIONS):
        raise NewerSchemaError(f"the file has schema {done}, this version knows {len(MIGRATIONS)}")
    if done == len(MIGRATIONS):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for step in MIGRATIONS[done:]:
            step(db)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
