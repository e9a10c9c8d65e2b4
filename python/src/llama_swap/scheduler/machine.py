"""The scheduler: an event and the time in, commands out. No clock, no I/O, no logging."""

from llama_swap.scheduler.commands import Command, GrantLease
from llama_swap.scheduler.deadline import next_deadline
from llama_swap.scheduler.events import Event, RequestGone
from llama_swap.scheduler.explain import Explanation, explain
from llama_swap.scheduler.facts import note
from llama_swap.scheduler.invariants import check_invariants
from llama_swap.scheduler.policy.coexistence import policy_of
from llama_swap.scheduler.reconcile import reconcile
from llama_swap.scheduler.snapshot import Snapshot, take_snapshot
from llama_swap.scheduler.spec import SchedulerSpec
from llama_swap.scheduler.state import InvalidTransition, State
from llama_swap.scheduler.story import ROUTINE, Recorder, Recording, StoryEntry, subject_of


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
        self._recorder = Recorder(self._state)

    def handle(self, event: Event, *, now: float) -> list[Command]:
        """Record an event and decide what to do about it.

        Raises:
            InvalidTransition: a defect of the scheduler; carries a recording that replays it.
        """
        state, recorder = self._state, self._recorder
        is_routine = now < state.calm_until and isinstance(event, ROUTINE) and event.request_id not in state.waiters
        about = None if is_routine else subject_of(state, event)
        state.now = now
        try:
            note(state, event, now)
            commands = reconcile(state, now)
        except InvalidTransition as defect:
            recorder.record(state, event, [])
            defect.recording = recorder.recording()
            raise
        recorder.record(state, event, commands)
        is_plain = type(commands[0]) is GrantLease if commands else type(event) is RequestGone
        if not is_routine or not is_plain or state.moves:
            recorder.tell(state, event, commands, about)
        return commands

    def next_deadline(self) -> float | None:
        """When to come back with DeadlineReached although nothing happened; None: not at all."""
        return next_deadline(self._state)

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
