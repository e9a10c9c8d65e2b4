"""What became of instances, read off the snapshots that follow one another."""

from collections.abc import Callable
from dataclasses import dataclass

from llama_swap.metrics.instruments import Instruments
from llama_swap.scheduler.commands import Decision, KillProcess, StartProcess, StopCause, StopProcess
from llama_swap.scheduler.snapshot import InstanceView, Snapshot
from llama_swap.scheduler.state import Phase

# What a model did before it was evicted.
_EVICTED_FROM = {Phase.READY: "idle", Phase.DRAINING: "drained", Phase.STARTING: "unneeded"}


@dataclass(frozen=True, slots=True)
class _Life:
    """An instance as it was seen last; ``started_at`` is in monotonic seconds."""

    started_at: float
    view: InstanceView


class Lifecycle:
    """Counts starts, stops and how long they took.

    Args:
        instruments: where to.
        label: the model's label for an ID.
    """

    def __init__(self, instruments: Instruments, label: Callable[[str], str]) -> None:
        self._instruments = instruments
        self._label = label
        self._lives: dict[int, _Life] = {}
        self._made_room_for: set[str] = set()
        self._short: set[str] = set()

    def decided(self, command: Decision) -> None:
        """Count a decision."""
        counters, model = self._instruments, self._label(command.model)
        match command:
            case StartProcess():
                counters.starts.add(model)
                if command.model in self._short:
                    self._short.discard(command.model)
                    counters.retries.add(model)
                if command.model in self._made_room_for:
                    self._made_room_for.discard(command.model)
                    counters.swaps.add(model)
            case StopProcess():
                self._stopped(command, model)
            case KillProcess():
                counters.kills.add(model)

    def _stopped(self, command: StopProcess, model: str) -> None:
        counters = self._instruments
        counters.stops.add(model, command.cause.value)
        if command.cause is StopCause.START_FAILED:
            counters.start_failures.add(model)
        elif command.cause is StopCause.EVICTED:
            self._made_room_for.add(command.needed_by)
            life = self._lives.get(command.instance_id)
            before = _EVICTED_FROM.get(life.view.phase, "idle") if life is not None else "idle"
            counters.evictions.add(model, before)

    def seen(self, snapshot: Snapshot) -> None:
        """Compare with what was seen last."""
        lives: dict[int, _Life] = {}
        for view in snapshot.instances:
            before = self._lives.pop(view.instance_id, None)
            started_at = view.since if before is None else before.started_at
            if view.ready_at is not None and before is not None and before.view.ready_at is None:
                self._instruments.load.observe(self._label(view.model), view.ready_at - started_at)
            if view.ready_at is not None:
                self._short.discard(view.model)
            if view.phase is Phase.RELEASING and before is not None and before.view.phase is not Phase.RELEASING:
                self._gone(before.view, view.since)
            lives[view.instance_id] = _Life(started_at, view)
        for life in self._lives.values():
            self._gone(life.view, snapshot.at)
        self._lives = lives

    def ran_out_of_memory(self, model: str, *, loading: bool) -> None:
        """Count a process that ended for want of memory; the next start of its model may be the retry."""
        self._instruments.out_of_memory.add(self._label(model), "loading" if loading else "serving")
        if loading:
            self._short.add(model)

    def _gone(self, view: InstanceView, now: float) -> None:
        model = self._label(view.model)
        if view.phase is Phase.RELEASING:
            self._instruments.release.observe(model, now - view.since)
        elif view.phase is Phase.STOPPING:
            self._instruments.stop.observe(model, now - view.since)
        elif view.phase is Phase.STARTING:
            self._instruments.start_failures.add(model)
        else:
            self._instruments.crashes.add(model)
