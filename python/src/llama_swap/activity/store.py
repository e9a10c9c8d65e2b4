"""The activity store: adding a row never waits, and one thread of its own does the work in the order it was asked.

Rows are handed over a few times a second, not one by one: a thread that wakes for each of them takes the interpreter's
lock from the event loop each time, which was measured to cost more than all the rest (150 us a request instead of 30).

A file that cannot be written costs rows and a line in the log, never a request: what could not be written is tried
again, and the oldest of it is dropped when too much piles up.
"""

import asyncio
import itertools
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from llama_swap.activity.database import Database, Limits, Page
from llama_swap.activity.query import ActivityQuery
from llama_swap.activity.row import Row
from llama_swap.activity.shelf import Shelf
from llama_swap.activity.stats import Stats

CLOSE_SECONDS = 1.0
_MOST_WAITING = 10_000
_HAND_OVER_SECONDS = 0.05
_HAND_OVER_ROWS = 256
# Captures are compressed, which takes long: in small batches the event loop gets its turn in between.
_HAND_OVER_COMPLETIONS = 16
_ROOM_OF_A_COMPLETION = _HAND_OVER_ROWS // _HAND_OVER_COMPLETIONS
_RETRY_SECONDS = 1.0

Completion = Callable[[Row], None]


_Added = tuple[Row, Completion | None]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question to the database, answered after everything that was added before it."""

    question: Callable[[Database], Any]
    answer: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Closed:
    pass


class Store:
    """Rows of finished requests; made by :meth:`open`, used from the event loop only."""

    def __init__(self, path: Path | None, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self._ids = itertools.count(1)
        self._queue: queue.SimpleQueue[list[_Added] | _Asked | _Closed] = queue.SimpleQueue()
        self._fresh: list[_Added] = []
        self._room = _HAND_OVER_ROWS
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._closed = False
        self._waiting: deque[Row] = deque(maxlen=_MOST_WAITING)
        self._retry_at: float | None = None
        self._dropped = 0
        self._log = structlog.get_logger("activity")

    @classmethod
    async def open(cls, path: Path | None, limits: Limits) -> "Store":
        """A store that is ready, on a file or in memory.

        Args:
            path: None keeps rows in memory. A file that cannot be used is reported in the log and tried again, and
                rows are kept in memory meanwhile.
            limits: how much is kept; may be replaced at any time.
        """
        store = cls(path, limits)
        opened: asyncio.Future[int] = store._loop.create_future()
        thread = threading.Thread(target=store._work, args=(opened,), name="activity store", daemon=True)
        thread.start()
        store._ids = itertools.count(await opened + 1)
        return store

    def add(self, row: Row, complete: Completion | None = None) -> int:
        """Keep a row; returns its ID at once. The row is in every answer to what is asked from now on.

        Args:
            row: gets its ID here, and belongs to the store from now on.
            complete: called in the store's thread with the row and its ID, for what takes long to fill in.
        """
        row.id = row_id = next(self._ids)
        self._fresh.append((row, complete))
        self._room -= 1 if complete is None else _ROOM_OF_A_COMPLETION
        if self._room <= 0:
            self._hand_over()
        elif self._timer is None:
            self._timer = self._loop.call_later(_HAND_OVER_SECONDS, self._hand_over)
        return row_id

    def _hand_over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._fresh:
            self._queue.put(self._fresh)
            self._fresh, self._room = [], _HAND_OVER_ROWS

    async def page(self, query: ActivityQuery) -> Page:
        """The rows a query asks for; raises sqlite3.Error."""
        page: Page = await self._ask(lambda database: database.page(query))
        return page

    async def stats(self, model: str | None = None) -> Stats:
        """Totals and speeds of one model, or of all; raises sqlite3.Error."""
        stats: Stats = await self._ask(lambda database: database.stats(model))
        return stats

    async def close(self) -> None:
        """Write what is left; gives up after :data:`CLOSE_SECONDS` and says so in the log."""
        self._hand_over()
        self._closed = True
        self._queue.put(_Closed())
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.shield(self._ended)
        except TimeoutError:
            self._log.error("activity not written completely", path=str(self.path))

    async def _ask(self, question: Callable[[Database], Any]) -> Any:
        if self._closed:
            raise sqlite3.ProgrammingError("the activity store is closed")
        self._hand_over()
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put(_Asked(question, answer))
        return await answer

    # -- in the store's thread ------------------------------------------------

    def _work(self, opened: asyncio.Future[int]) -> None:
        shelf = Shelf(self.path, self._report)
        self._on_loop(_settle, opened, shelf.last_id(), None)
        try:
            while not self._take_next(shelf):
                pass
            self._write(shelf.database)
            if shelf.reopen_seconds is not None:
                shelf.reopen(self.limits)
        finally:
            if self._waiting:
                self._report("activity lost", rows=len(self._waiting))
            shelf.database.close()
            self._on_loop(_settle, self._ended, None, None)

    def _take_next(self, shelf: Shelf) -> bool:
        """Take one thing out of the queue and do it; True at the end."""
        if shelf.reopen_seconds == 0:
            shelf.reopen(self.limits)
        try:
            item = self._queue.get(timeout=_RETRY_SECONDS if self._waiting else shelf.reopen_seconds)
        except queue.Empty:
            self._write(shelf.database)
            return False
        match item:
            case _Closed():
                self._retry_at = None
                return True
            case _Asked():
                self._write(shelf.database)
                self._answer(shelf.database, item)
            case list():
                for row, complete in item:
                    self._take_row(row, complete)
                self._write(shelf.database)
        return False

    def _take_row(self, row: Row, complete: Completion | None) -> None:
        try:
            if complete is not None:
                complete(row)
        except Exception as bug:  # noqa: BLE001 - a row without tokens is better than no store
            self._report("activity row not completed", error=repr(bug))
        self._dropped += len(self._waiting) == _MOST_WAITING
        self._waiting.append(row)

    def _write(self, database: Database) -> None:
        """Write everything that waits, unless that has just failed."""
        if not self._waiting or (self._retry_at is not None and time.monotonic() < self._retry_at):
            return
        try:
            written = len(self._waiting)
            if refused := database.insert(self._waiting):
                self._report("activity rows are malformed", lost=refused)
            self._waiting.clear()
            database.prune(self.limits)
        except sqlite3.Error as error:
            if self._retry_at is None:
                self._report("activity not written, trying again", path=str(self.path), error=str(error))
            self._retry_at = time.monotonic() + _RETRY_SECONDS
        else:
            if self._retry_at is not None:
                self._report("activity written again", rows=written, lost=self._dropped)
            self._retry_at, self._dropped = None, 0

    def _answer(self, database: Database, asked: _Asked) -> None:
        try:
            self._on_loop(_settle, asked.answer, asked.question(database), None)
        except Exception as error:  # noqa: BLE001 - belongs to whoever asked
            self._on_loop(_settle, asked.answer, None, error)

    def _report(self, event: str, **fields: object) -> None:
        # The log's readers live on the loop.
        self._on_loop(lambda: self._log.error(event, **fields))

    def _on_loop(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more


def _settle(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
