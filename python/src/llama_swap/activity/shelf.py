"""Where rows are kept: in their file, or in memory for as long as the file cannot be used."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from llama_swap.activity.database import Database, Limits
from llama_swap.activity.query import ActivityQuery

REOPEN_SECONDS = 30.0

Report = Callable[..., None]
"""``report(event, **fields)`` writes a line into the log."""


class Shelf:
    """The database in use; belongs to the store's thread.

    A file that is locked, broken or out of reach at the start costs no row: rows go to memory, the file is tried again
    every :data:`REOPEN_SECONDS`, and takes over what is still kept by then.

    Args:
        path: None keeps rows in memory for good.
        report: tells the log.

    Attributes:
        database: the file, or memory in its place.
    """

    def __init__(self, path: Path | None, report: Report) -> None:
        self._path = path
        self._report = report
        self._reopen_at: float | None = None
        try:
            self.database = Database(path)
        except sqlite3.Error as error:
            report("activity is kept in memory, its file cannot be used", path=str(path), error=str(error))
            self.database = Database(None)
            self._reopen_at = time.monotonic() + REOPEN_SECONDS

    @property
    def reopen_seconds(self) -> float | None:
        """How long until the file is worth another try; None when it is in use, or there is none."""
        return None if self._reopen_at is None else max(0.0, self._reopen_at - time.monotonic())

    def last_id(self) -> int:
        """The highest ID that a row in the file may have.

        While the file cannot be asked these are the milliseconds since 1970: more than any file has rows, so that rows
        keep their ID, by which clients know them and captures are found, when the file takes them over.
        """
        return self.database.last_id() if self._reopen_at is None else int(time.time() * 1000)

    def reopen(self, limits: Limits) -> None:
        """Put the file in use with all rows that are in memory, or try again later."""
        try:
            file = Database(self._path)
        except sqlite3.Error:
            self._reopen_at = time.monotonic() + REOPEN_SECONDS
            return
        rows = self.database.page(ActivityQuery(limit=-1, ascending=True)).rows
        try:
            file.insert(rows)
            file.prune(limits)
        except sqlite3.Error:
            file.close()
            self._reopen_at = time.monotonic() + REOPEN_SECONDS
            return
        self.database.close()
        self.database, self._reopen_at = file, None
        self._report("activity is kept in its file again", path=str(self._path), rows=len(rows))
