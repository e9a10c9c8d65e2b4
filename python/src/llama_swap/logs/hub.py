"""The log hub: every line that the service and its models write, kept in rings and handed to live readers.

A *monitor* is one log that can be read: ``proxy`` (the service's own lines), ``upstream`` (the output of all models),
the combined log (what ``logToStdout`` prints) and one for each model. Each keeps its last 100 KiB of whole lines, as
llama-swap does. Memory is bounded everywhere: a reader that does not keep up loses lines, and is told how many.

The hub is synchronous and belongs to the thread of the event loop; writing a line costs a few appends and no task.
"""

from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from typing import Final

from llama_swap.broadcast import PENDING_BYTES, Broadcast, Listener, Sink
from llama_swap.logs.requests import RequestLog, RequestRecord

COMBINED: Final = ""
PROXY: Final = "proxy"
UPSTREAM: Final = "upstream"
HISTORY_BYTES: Final = 100 * 1024


class StdoutChoice(StrEnum):
    """What is printed on stdout and kept in the combined log: the values of ``logToStdout``."""

    PROXY = "proxy"
    UPSTREAM = "upstream"
    BOTH = "both"
    NONE = "none"

    @property
    def includes_proxy(self) -> bool:
        """Whether the service's own lines are printed."""
        return self in (StdoutChoice.PROXY, StdoutChoice.BOTH)

    @property
    def includes_upstream(self) -> bool:
        """Whether the output of models is printed."""
        return self in (StdoutChoice.UPSTREAM, StdoutChoice.BOTH)


class _Monitor:
    """One log: a ring of whole lines and its live readers."""

    __slots__ = ("_capacity_bytes", "_most_bytes", "_ring", "readers")

    def __init__(self, capacity_bytes: int, pending_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._most_bytes = capacity_bytes * 5 // 4  # what is too much goes now and then, not after each line
        # CPython removes bytes from the front of a bytearray without moving the rest.
        self._ring = bytearray()
        self.readers = Broadcast(limit_bytes=pending_bytes)

    def write(self, raw: bytes, lines: Sequence[bytes] = ()) -> None:
        """Add one line, or several together and one by one, as readers get them."""
        ring = self._ring
        ring += raw
        if len(ring) > self._most_bytes:
            self._cut()
        if self.readers:
            for line in lines or (raw,):
                self.readers.publish(line)

    def history(self) -> bytes:
        self._cut()
        return bytes(self._ring)

    def _cut(self) -> None:
        ring = self._ring
        excess = len(ring) - self._capacity_bytes
        if excess > 0:
            newline = ring.find(b"\n", excess - 1)
            # A line longer than the ring keeps its end; otherwise only whole lines stay.
            del ring[: excess if newline in (-1, len(ring) - 1) else newline + 1]


class LogHub:
    """All monitors of the service.

    Args:
        to_stdout: which lines are printed and kept in the combined log.
        history_bytes: what each monitor keeps.
        pending_bytes: what may wait for one live reader.

    Attributes:
        shows_debug: lines for debugging are written; spares whoever has many to make what nobody would see.
    """

    def __init__(
        self,
        *,
        to_stdout: StdoutChoice = StdoutChoice.PROXY,
        history_bytes: int = HISTORY_BYTES,
        pending_bytes: int = PENDING_BYTES,
    ) -> None:
        self._history_bytes = history_bytes
        self._pending_bytes = pending_bytes
        self._fixed = {name: _Monitor(history_bytes, pending_bytes) for name in (COMBINED, PROXY, UPSTREAM)}
        self._models: dict[str, _Monitor] = {}
        self._closed = False
        self._to_stdout = to_stdout
        self._of_proxy = self._monitors_of_proxy()
        self._echo: Callable[[str, bytes], None] | None = None
        self._request_log: RequestLog | None = None
        self.shows_debug = False

    @property
    def to_stdout(self) -> StdoutChoice:
        """Which lines are printed."""
        return self._to_stdout

    def print_on_stdout(self, choice: StdoutChoice, echo: Callable[[str, bytes], None]) -> None:
        """Change what is printed from now on.

        Args:
            choice: the value of ``logToStdout``.
            echo: prints a line of a model's output, given the model's ID and the line; not called for other lines.
        """
        self._settle()
        self._to_stdout = choice
        self._of_proxy = self._monitors_of_proxy()
        self._echo = echo

    def write_requests(self, log: RequestLog) -> None:
        """Choose what writes the lines of finished requests from now on."""
        self._settle()
        self._request_log = log

    def log_request(self, record: RequestRecord) -> None:
        """Write the line of a finished request, perhaps together with those of others that end now."""
        if self._request_log is not None:
            self._request_log(record)

    def _settle(self) -> None:
        """Let requests that are over have their lines before whatever is written or read now."""
        if self._request_log is not None:
            self._request_log.settle()

    def write_proxy(self, line: str) -> None:
        """Record a line of the service itself, in the form people read."""
        self._settle()
        raw = _as_line(line.encode("utf-8", "backslashreplace"))
        for monitor in self._of_proxy:
            monitor.write(raw)

    def write_proxy_lines(self, lines: Sequence[bytes]) -> None:
        """Record whole lines of finished requests."""
        raw = b"".join(lines)
        for monitor in self._of_proxy:
            monitor.write(raw, lines)

    def write_upstream(self, model: str, line: bytes) -> None:
        """Record a line that a model's process wrote on stdout or stderr, as it is."""
        raw = _as_line(line)
        self._monitor_of(model).write(raw)
        self._fixed[UPSTREAM].write(raw)
        if self._to_stdout.includes_upstream:
            self._settle()
            self._fixed[COMBINED].write(raw)
            if self._echo is not None:
                self._echo(model, raw)

    def known(self, monitor: str) -> bool:
        """Whether this is the combined, proxy or upstream log, or a model that wrote something."""
        return monitor in self._fixed or monitor in self._models

    def history(self, monitor: str) -> bytes:
        """The lines a monitor keeps, oldest first; empty for one that nothing was written to."""
        self._settle()
        found = self._fixed.get(monitor) or self._models.get(monitor)
        return found.history() if found else b""

    def subscribe(self, monitor: str, *, history: bool = False) -> Listener:
        """Follow a monitor, whether or not anything was written to it yet; each step gives whole lines.

        Args:
            monitor: ``COMBINED``, ``PROXY``, ``UPSTREAM`` or a model's ID.
            history: begin with the lines that are kept; no line is lost or given twice between them and the live ones.
        """
        self._settle()
        source = self._fixed.get(monitor) or self._monitor_of(monitor)
        return source.readers.listen(source.history() if history else b"", catch_up=_gap)

    def forward(self, monitor: str, sink: Sink) -> Callable[[], None]:
        """Call ``sink`` with every line of a fixed monitor from now on; returns how to stop that."""
        self._settle()
        return self._fixed[monitor].readers.forward(sink)

    def keep_models(self, models: Collection[str]) -> None:
        """Forget the logs of models that are not among these and that nobody follows (after a reload)."""
        gone = [model for model, log in self._models.items() if model not in models and not log.readers]
        for model in gone:
            del self._models[model]

    def close(self) -> None:
        """End all live readers, present and future, once they have what was written; writing goes on."""
        self._settle()
        self._closed = True
        for monitor in (*self._fixed.values(), *self._models.values()):
            monitor.readers.close()

    def _monitors_of_proxy(self) -> tuple[_Monitor, ...]:
        names = (PROXY, COMBINED) if self._to_stdout.includes_proxy else (PROXY,)
        return tuple(self._fixed[name] for name in names)

    def _monitor_of(self, model: str) -> _Monitor:
        monitor = self._models.get(model)
        if monitor is None:
            monitor = self._models[model] = _Monitor(self._history_bytes, self._pending_bytes)
            if self._closed:
                monitor.readers.close()
        return monitor


def _as_line(raw: bytes) -> bytes:
    return raw if raw.endswith(b"\n") else raw + b"\n"


def _gap(dropped: int) -> bytes:
    return b"[%d lines dropped: this reader is too slow]\n" % dropped
