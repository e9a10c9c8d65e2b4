"""What happened and what was decided: readable per model, replayable as a whole.

Two views, because they want different things. A *story* is what a person reads about one model: the latest entries
that concern it, without the routine of a ready model (request in, lease granted, request out), which would push out
all else within seconds. A *recording* is what a test replays: every event of every model since a known state.
"""

from collections import deque
from dataclasses import dataclass

from llama_swap.scheduler.commands import Command, Decision
from llama_swap.scheduler.events import ConfigChanged, Event
from llama_swap.scheduler.facts import note
from llama_swap.scheduler.reconcile import reconcile
from llama_swap.scheduler.state import Move, State

STORY_LENGTH = 200
"""Entries kept for each model."""

SEGMENT_LENGTH = 1000
"""A recording holds at least this many of the latest events and at most twice as many."""

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
        self._forgotten = 0
        self._stories: dict[str, deque[StoryEntry]] = {}

    def record(self, state: State, event: Event, commands: list[Command]) -> None:
        """Keep an event that was handled just now, with what was decided on it."""
        latest = self._latest
        latest.append((state.now, event, tuple(commands)))
        if len(latest) == SEGMENT_LENGTH:
            self._forgotten += len(self._older)
            self._older, self._latest = latest, []
            self._opening, self._next_opening = self._next_opening, state.copy()

    def tell(self, state: State, event: Event, commands: list[Command], about: str | None) -> None:
        """Add the latest event to the stories of the models that it concerns; ``about`` is its subject."""
        if type(event) is ConfigChanged:
            for gone in self._stories.keys() - state.spec.models.keys():
                del self._stories[gone]
        number = self._forgotten + len(self._older) + len(self._latest)
        entry = StoryEntry(number, state.now, event, tuple(commands), tuple(state.moves))
        told = (*(command for command in commands if isinstance(command, Decision)), *state.moves)
        state.moves.clear()
        for model in dict.fromkeys((about, *(item.model for item in told))):
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
        entries = (StoryEntry(number, *entry) for number, entry in enumerate(noted, self._forgotten + 1))
        return Recording(self._opening, tuple(entries))
