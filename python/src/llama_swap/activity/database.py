"""The activity table: rows in, pages and statistics out. Synchronous; it belongs to one thread."""

import contextlib
import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_swap.activity.migrations import drop_indexes, migrate
from llama_swap.activity.query import ActivityQuery
from llama_swap.activity.row import Outcome, Row, Spans
from llama_swap.activity.stats import Stats, read_stats
from llama_swap.activity.usage import Usage

_SECONDS_A_DAY = 86400
# Longer waits would hold up the end of the service; what could not be written is tried again.
_BUSY_TIMEOUT_MS = 300
# What is wrong with a row, not with the file.
_BAD_ROW = (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError, UnicodeError)
_COLUMNS = (
    "id, ts_created, ts_milliseconds, model_id, req_path, resp_content_type, resp_status_code, "
    "cache_tokens, draft_tokens, draft_acc_tokens, input_tokens, output_tokens, prompt_per_second, tokens_per_second, "
    "duration_ms, error_msg, metadata_json, queue_ms, load_ms, first_token_ms, generation_ms, outcome, requested, "
    "request_id"
)
_INSERT = f"INSERT INTO activity ({_COLUMNS}) VALUES ({', '.join('?' * (_COLUMNS.count(',') + 1))})"  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept.

    Attributes:
        max_rows: the newest so many; None for all.
        max_age_days: None for ever.
        max_rows_in_memory: the newest so many where there is no file, or it cannot be used; None for all.
    """

    max_rows: int | None = None
    max_age_days: float | None = None
    max_rows_in_memory: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of rows.

    Attributes:
        total: how many rows the query finds on all pages.
    """

    rows: tuple[Row, ...]
    page: int
    limit: int
    total: int

    @property
    def total_pages(self) -> int:
        """How many pages there are; 0 without rows."""
        return -(-self.total // self.limit)


class Database:
    """One SQLite connection.

    Args:
        path: the file, made if it is not there; None keeps rows in memory.

    Raises:
        sqlite3.Error: it cannot be opened, is no such file or is locked.
    """

    def __init__(self, path: Path | None) -> None:
        self._in_memory = path is None
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, cached_statements=32)
        try:
            self._db.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            if path is not None:
                # A power cut may lose the last moments, never the file; and no request costs a disk flush.
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
            migrate(self._db)
            if path is None:
                drop_indexes(self._db)
            self._row_count = int(self._db.execute("SELECT COUNT(*) FROM activity").fetchone()[0])
        except BaseException:
            self._db.close()
            raise

    def last_id(self) -> int:
        """The highest ID ever given, also when its row is gone."""
        found = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'activity'").fetchone()
        return int(found[0]) if found else 0

    def insert(self, rows: Sequence[Row]) -> int:
        """Write rows; an ID that another process took meanwhile is replaced by a free one.

        Returns:
            How many rows cannot be written whatever happens, such as text that is not Unicode; they are left out.

        Raises:
            sqlite3.Error: nothing was written; it may be possible later.
        """
        records = [_record(row) for row in rows]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            try:
                self._db.executemany(_INSERT, records)
                refused = 0
            except _BAD_ROW:
                refused = self._insert_one_by_one(records)
            self._db.execute("COMMIT")
            self._row_count += len(records) - refused
        except BaseException:
            # SQLite has rolled back by itself after some errors, a full disk for one.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return refused

    def _insert_one_by_one(self, records: Sequence[tuple[Any, ...]]) -> int:
        self._db.execute("ROLLBACK")
        self._db.execute("BEGIN IMMEDIATE")
        return sum(not self._insert_one(record) for record in records)

    def _insert_one(self, record: tuple[Any, ...]) -> bool:
        try:
            self._db.execute(_INSERT, record)
        except sqlite3.IntegrityError:
            return self._insert_one((None, *record[1:])) if record[0] is not None else False
        except _BAD_ROW:
            return False
        return True

    def prune(self, limits: Limits) -> None:
        """Forget what is beyond the limits."""
        if limits.max_age_days is not None:
            oldest = time.time() - limits.max_age_days * _SECONDS_A_DAY
            self._delete("ts_created < ?", int(oldest))
        asked = (limits.max_rows, limits.max_rows_in_memory if self._in_memory else None)
        most = min((rows for rows in asked if rows is not None), default=self._row_count)
        if self._row_count > most:
            # Counted here, as IDs may have gaps, and counting in SQLite reads the whole table.
            self._delete("id IN (SELECT id FROM activity ORDER BY id LIMIT ?)", self._row_count - most)

    def _delete(self, condition: str, value: int) -> None:
        self._row_count -= self._db.execute(f"DELETE FROM activity WHERE {condition}", (value,)).rowcount  # noqa: S608 - constants

    def page(self, query: ActivityQuery) -> Page:
        """The rows that a query asks for."""
        where, values = query.where()
        total = self._db.execute(f"SELECT COUNT(*) FROM activity{where}", values).fetchone()[0]  # noqa: S608 - ? only
        select = f"SELECT {_COLUMNS} FROM activity{where}{query.order_by()} LIMIT ? OFFSET ?"  # noqa: S608 - same
        found = self._db.execute(select, [*values, query.limit, query.offset])
        return Page(tuple(_row(record) for record in found), query.page, query.limit, total)

    def stats(self, model: str | None) -> Stats:
        """Totals and speeds of one model, or of all."""
        return read_stats(self._db, model)

    def close(self) -> None:
        """Write what is left into the file and let go of it."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()


def _record(row: Row) -> tuple[Any, ...]:
    """In the order of the columns."""
    tokens, spans = row.tokens, row.spans
    milliseconds = int(row.timestamp * 1000)
    return (
        row.id or None,
        milliseconds // 1000,
        milliseconds % 1000,
        row.model,
        row.req_path,
        row.resp_content_type,
        row.resp_status_code,
        tokens.cache_tokens,
        tokens.draft_tokens,
        tokens.draft_acc_tokens,
        tokens.input_tokens,
        tokens.output_tokens,
        tokens.prompt_per_second,
        tokens.tokens_per_second,
        row.duration_ms,
        row.error_msg,
        json.dumps(dict(row.metadata)) if row.metadata else "",
        spans.queue_ms,
        spans.load_ms,
        spans.first_token_ms,
        spans.generation_ms,
        row.outcome.value,
        row.requested,
        row.request_id,
    )


def _row(record: tuple[Any, ...]) -> Row:
    (number, seconds, milliseconds, model, path, content_type, status, *counts, duration, error, metadata) = record[:17]
    cached, drafted, accepted, read, written, prompt_speed, speed = counts
    return Row(
        id=number,
        timestamp=seconds + milliseconds / 1000,
        model=model,
        req_path=path,
        resp_content_type=content_type,
        resp_status_code=status,
        tokens=Usage(read, written, cached, drafted, accepted, prompt_speed, speed),
        duration_ms=duration,
        error_msg=error,
        metadata=json.loads(metadata) if metadata else {},
        spans=Spans(*record[17:21]),
        outcome=Outcome(record[21]),
        requested=record[22],
        request_id=record[23],
    )
