"""Who is told what the supervisor does: the logs, the metrics and the service manager."""

from typing import TYPE_CHECKING

import structlog

from llama_swap.logs import LogHub, log_decision
from llama_swap.metrics import Metrics
from llama_swap.notify import Notifier
from llama_swap.scheduler import commands
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
        self.metrics.observe_decision(command)
        routine = isinstance(command, commands.GrantLease)
        if routine and not self._hub.shows_debug:
            return
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


def _nothing() -> None:
    """Nobody listens."""
