"""What happened and what was decided: readable per model, replayable as a whole.

Two views, because they want different things. A *story* is what a person reads about one model: the latest entries
that concern it, without the routine of a ready model (request in, lease granted, request out), which would push out
all else within seconds. A *recording* is what a test replays: every event of every model since a known state.
"""

from collections import deque
from dataclasses import dataclass

from llama_swap.scheduler.commands import Command, Decision, GrantLease
from llama_swap.scheduler.events import (
    ConfigChanged,
    Event,
    NeedAssessed,
    PinChanged,
    ProcessExited,
    ProcessReady,
    ReadinessFailed,
    RequestArrived,
    RequestGone,
    UnloadRequested,
)
from llama_swap.scheduler.facts import note
from llama_swap.scheduler.reconcile import reconcile
from llama_swap.scheduler.state import Move, State

STORY_LENGTH = 200
"""Entries kept for each model."""

SEGMENT_LENGTH = 1000
"""A recording holds at least this many of the latest events and at most twice as many."""

_ROUTINE = (RequestArrived, RequestGone)
# Time, event and commands: what an entry is made of when somebody asks, for nearly nobody ever does.
_Noted = tuple[float, Event, tuple[Command, ...]]


@dataclass(frozen=True, slots=True)
class StoryEntry:
    """One event and all that was decided on it.

    Attributes:
        number: counts the events since the start of the service.
        at: monotonic seconds.
        moves: the steps that instances took, some of which need no command.
    """

    number: int
    at: float
    event: Event
    commands: tuple[Command, ...]
    moves: tuple[Move, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """Events without a gap, and the state before the first of them."""

    opening: State
    entries: tuple[StoryEntry, ...]


def replay(recording: Recording) -> list[tuple[Command, ...]]:
    """Decide everything in a recording again; equals the commands of its entries as long as the rules are the same."""
    state = recording.opening.copy()
    decided = []
    for entry in recording.entries:
        state.now = entry.at
        state.moves.clear()
        note(state, entry.event, entry.at)
        decided.append(tuple(reconcile(state, entry.at)))
    return decided


class Recorder:
    """Keeps the latest events; bounded in the number of events and of models."""

    def __init__(self, state: State) -> None:
        self._opening = self._next_opening = state.copy()
        self._older: list[_Noted] = []
        self._latest: list[_Noted] = []
        self._count = 0
        self._stories: dict[str, deque[StoryEntry]] = {}
        self._about: str | None = None
        self._was_calm = False

    def before(self, state: State, event: Event, now: float) -> None:
        """Note an event that is about to be handled."""
        if len(self._latest) >= SEGMENT_LENGTH:
            self._rotate(state)
        self._latest.append((now, event, ()))
        self._count += 1
        self._was_calm = now < state.calm_until
        if not self._was_calm or not isinstance(event, _ROUTINE):
            self._about = _model_of(state, event)

    def after(self, state: State, commands: list[Command]) -> None:
        """Note what was decided on it."""
        now, event, _ = self._latest[-1]
        decided = tuple(commands)
        self._latest[-1] = (now, event, decided)
        if self._was_calm and _is_routine(event, commands):
            return
        if isinstance(event, RequestArrived):
            self._about = event.model
        if type(event) is ConfigChanged:
            for gone in self._stories.keys() - state.spec.models.keys():
                del self._stories[gone]
        entry = StoryEntry(self._count, now, event, decided, tuple(state.moves))
        told = (*(command for command in commands if isinstance(command, Decision)), *state.moves)
        state.moves.clear()
        for model in dict.fromkeys((self._about, *(item.model for item in told))):
            if (
                model is not None and model in state.spec.models
            ):  # a name from a request may be anything; stories must stay few
                self._stories.setdefault(model, deque(maxlen=STORY_LENGTH)).append(entry)

    def story(self, model: str) -> list[StoryEntry]:
        """The latest entries that concern a model, oldest first."""
        return list(self._stories.get(model, ()))

    def recording(self) -> Recording:
        """All events since a known state, the one being handled included."""
        noted = (*self._older, *self._latest)
        first = self._count - len(noted) + 1
        return Recording(self._opening, tuple(StoryEntry(first + i, *entry) for i, entry in enumerate(noted)))

    def _rotate(self, state: State) -> None:
        self._older = self._latest
        self._opening, self._next_opening = self._next_opening, state.copy()
        self._latest = []


def _is_routine(event: Event, commands: list[Command]) -> bool:
    if type(event) is RequestGone:
        return not commands
    return type(event) is RequestArrived and len(commands) == 1 and type(commands[0]) is GrantLease


def _model_of(state: State, event: Event) -> str | None:
    match event:
        case RequestArrived(_, model):
            return model
        case RequestGone(request_id):
            instance = state.leases.get(request_id)
            if instance is not None:
                return instance.model
            waiter = state.waiters.get(request_id)
            return waiter.model if waiter is not None else None
        case ProcessReady(instance_id) | ProcessExited(instance_id) | ReadinessFailed(instance_id):
            instance = state.instance_by_id(instance_id)
            return instance.model if instance is not None else None
        case UnloadRequested(model) | NeedAssessed(model) | PinChanged(model):
            return model
        case _:
            return None
