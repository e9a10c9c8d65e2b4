"""From a finished request to its row: tokens, failure text, capture, store, and whoever wants to know."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from llama_swap.activity.captures import Captures, Exchanged
from llama_swap.activity.failure import failure_message
from llama_swap.activity.row import Row
from llama_swap.activity.sample import ResponseSample
from llama_swap.activity.store import Store
from llama_swap.activity.usage import is_quickly_read, read_usage

RowListener = Callable[[Row], None]
_OK: Final[int] = HTTPStatus.OK


class Recorder:
    """What is called once for every finished request; belongs to the event loop.

    An ordinary answer is read at once, which is cheaper than to wake another thread for it. Compressed and long answers
    and captures are the work of the store's thread.
    """

    def __init__(self, store: Store, captures: Captures) -> None:
        self._store = store
        self._captures = captures
        self._loop = asyncio.get_running_loop()
        self._listeners: tuple[RowListener, ...] = ()

    def subscribe(self, listener: RowListener) -> Callable[[], None]:
        """Call ``listener`` on the loop with every complete row; it must not raise or wait. Returns how to stop."""
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

        return unsubscribe

    def record(self, row: Row, sample: ResponseSample | None = None, exchanged: Exchanged | None = None) -> int:
        """Keep the row of a finished request; returns its ID at once and never raises for what an upstream sent.

        Args:
            row: without ID, tokens and (if an upstream failed) error message, which it gets; nobody else changes it.
            sample: of the upstream's answer; None when there was none.
            exchanged: for a capture; None for no capture.
        """
        if exchanged is not None and not self._captures.enabled:
            exchanged = None
        if exchanged is None and (sample is None or is_quickly_read(sample)):
            if sample is not None:
                _complete(row, sample)
            row_id = self._store.add(row)
            self._announce(row)
            return row_id
        return self._store.add(row, lambda numbered: self._complete_elsewhere(numbered, sample, exchanged))

    def _complete_elsewhere(self, row: Row, sample: ResponseSample | None, exchanged: Exchanged | None) -> None:
        """In the store's thread."""
        if sample is not None:
            _complete(row, sample)
        if exchanged is not None:
            self._captures.put(row.id, exchanged)
        # At the very end the loop is closed, and nobody listens any more.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._announce, row)

    def _announce(self, row: Row) -> None:
        for listener in self._listeners:
            listener(row)


def _complete(row: Row, sample: ResponseSample) -> None:
    """Put into a row what its answer says."""
    if sample.status != _OK:
        row.error_msg = row.error_msg or failure_message(sample)
        return
    row.tokens = usage = read_usage(sample)
    if usage.busy_ms > row.duration_ms:
        row.duration_ms = int(usage.busy_ms)
