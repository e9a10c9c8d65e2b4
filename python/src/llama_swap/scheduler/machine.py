"""The scheduler: an event and the time in, commands out. No clock, no I/O, no logging."""

from llama_swap.scheduler.commands import Command, GrantLease
from llama_swap.scheduler.deadline import NEVER, calm_until
from llama_swap.scheduler.events import Event, RequestGone
from llama_swap.scheduler.explain import Explanation, explain
from llama_swap.scheduler.facts import note
from llama_swap.scheduler.invariants import check_invariants
from llama_swap.scheduler.policy.coexistence import policy_of
from llama_swap.scheduler.reconcile import reconcile
from llama_swap.scheduler.snapshot import Snapshot, take_snapshot
from llama_swap.scheduler.spec import SchedulerSpec
from llama_swap.scheduler.state import InvalidTransition, State
from llama_swap.scheduler.story import Recorder, Recording, StoryEntry


class Scheduler:
    """Decides which model runs and which request is served next.

    All times are seconds of one monotonic clock that the caller reads. Not thread-safe: it has one owner.
    """

    def __init__(self, spec: SchedulerSpec) -> None:
        """Begin with nothing running.

        Raises:
            ValueError: the matrix of the configuration has mistakes; ``check_matrix`` finds them all before.
        """
        self._state = State(spec, policy_of(spec))
        self._state.calm_until = calm_until(self._state)
        self._recorder = Recorder(self._state)

    def handle(self, event: Event, *, now: float) -> list[Command]:
        """Record an event and decide what to do about it.

        Raises:
            InvalidTransition: a defect of the scheduler; carries a recording that replays it.
        """
        state, recorder = self._state, self._recorder
        state.now = now
        try:
            about = note(state, event, now)
            commands = reconcile(state, now)
        except InvalidTransition as defect:
            recorder.record(state, event, [])
            defect.recording = recorder.recording()
            raise
        recorder.record(state, event, commands)
        if commands:
            is_routine = len(commands) == 1 and isinstance(commands[0], GrantLease)
        else:
            is_routine = about is None and isinstance(event, RequestGone)
        if not is_routine or state.moves:
            recorder.tell(state, event, commands, about)
        return commands

    def next_deadline(self) -> float | None:
        """When to come back with DeadlineReached although nothing happened; None: not at all.

        Never later than the first time at which time alone changes a decision. It may be earlier, because the use of a
        ready model does not move it (so the owner need not set its timer anew with every request). A deadline that was
        reached disappears, so whoever sleeps until it never spins.
        """
        until = self._state.calm_until
        return until if until < NEVER else None

    def snapshot(self, *, now: float) -> Snapshot:
        """What a person or a metric wants to know, frozen."""
        return take_snapshot(self._state, now)

    def explain(self, model: str, *, now: float) -> Explanation:
        """What a request for this model would lead to, without anything being changed."""
        return explain(self._state, model, now)

    def story(self, model: str) -> list[StoryEntry]:
        """What happened to a model and what was decided, oldest first; the routine of a ready model is left out."""
        return self._recorder.story(model)

    def recording(self) -> Recording:
        """The latest events of all models, with the state they began in: ``replay`` repeats it."""
        return self._recorder.recording()

    def check_invariants(self) -> None:
        """See :func:`llama_swap.scheduler.invariants.check_invariants`."""
        check_invariants(self._state)
