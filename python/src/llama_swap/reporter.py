"""Who is told what the supervisor does: the logs, the metrics and the service manager."""

from typing import TYPE_CHECKING

import structlog

from llama_swap.logs import LogHub, log_decision
from llama_swap.metrics import Metrics
from llama_swap.notify import Notifier
from llama_swap.scheduler import commands
from llama_swap.scheduler.memory import Need
from llama_swap.scheduler.snapshot import Snapshot
from llama_swap.scheduler.state import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

_ACTIONS: dict[type[commands.Decision], str] = {
    commands.StartProcess: "start",
    commands.StopProcess: "stop",
    commands.KillProcess: "kill",
    commands.GrantLease: "grant",
    commands.RejectRequest: "reject",
}
_ABOUT_REQUESTS = (commands.GrantLease, commands.RejectRequest)


class Reporter:
    """Tells the logs, the metrics and the service manager what the supervisor does.

    Attributes:
        configured: how many models there are.
        metrics: counts what happens.
        on_change: called after every change of state; set by whoever shows it.
    """

    def __init__(self, hub: LogHub, notifier: Notifier, metrics: Metrics, *, configured: int) -> None:
        self.configured = configured
        self.on_change: Callable[[], None] = _nothing
        self.metrics = metrics
        self._hub = hub
        self._notifier = notifier
        self._log = structlog.get_logger("scheduler")
        self._status = ""

    def decided(self, command: commands.Decision) -> None:
        """One line per decision; granting is the every-day case and only worth a debug line."""
        routine = isinstance(command, commands.GrantLease)
        if routine and not self._hub.shows_debug:
            return
        self.metrics.observe_decision(command)
        log_decision(
            self._log,
            _ACTIONS[type(command)],
            model=command.model,
            because=command.because,
            instance_id=None if isinstance(command, commands.RejectRequest) else command.instance_id,
            request_id=command.request_id if isinstance(command, _ABOUT_REQUESTS) else None,
            routine=routine,
        )

    def output(self, model: str, stream: str, line: bytes) -> None:  # noqa: ARG002 - both streams share one log
        """A line of a model's process."""
        self._hub.write_upstream(model, line)

    def noticed(self, model: str, text: str) -> None:
        """A warning about a model."""
        self._log.warning(text, model=model)

    def assessed(self, model: str, need: Need) -> None:
        """What a model needs, and how that is known."""
        self.metrics.observe_need(model, need)
        parts = ", ".join(f"{what} {_gib(size)}" if size else what for what, size in need.parts)
        sizes = {"devices": _gib(need.device_bytes), "host": _gib(need.host_bytes), "parts": parts}
        self._log.debug("need", model=model, source=need.source.value, **sizes)

    def read_ahead(self, model: str, bytes_read: int, seconds: float) -> None:
        """Files that were brought into memory."""
        self.metrics.observe_read_ahead(model, bytes_read, seconds)
        self._log.info("read ahead", model=model, size=_gib(bytes_read), seconds=round(seconds, 2))

    def ran_out_of_memory(self, model: str, *, loading: bool) -> None:
        """The end of a process for want of memory."""
        self.metrics.observe_out_of_memory(model, loading=loading)
        self._log.warning("out of memory", model=model, when="loading" if loading else "serving")

    def changed(self, snapshot: Snapshot) -> None:
        """Keep the service manager's status line, the metrics and the listeners up to date."""
        self.metrics.observe_snapshot(snapshot)
        self.on_change()
        phases = [instance.phase for instance in snapshot.instances]
        ready = sum(phase in (Phase.READY, Phase.DRAINING) for phase in phases)
        others = {"starting": Phase.STARTING, "stopping": Phase.STOPPING}
        parts = [f"{ready} of {self.configured} models ready"]
        parts += [f"{phases.count(phase)} {word}" for word, phase in others.items() if phase in phases]
        status = "; ".join(parts)
        if status != self._status:
            self._status = status
            self._notifier.status(status)

    def beat(self) -> None:
        """Feed the watchdog."""
        self.metrics.observe_heartbeat()
        self._notifier.watchdog()


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"


def _nothing() -> None:
    """Nobody listens."""
