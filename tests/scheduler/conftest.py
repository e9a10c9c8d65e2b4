"""Playbooks: a test of the scheduler reads as a conversation.

``play("ab").at(0).arrives(1, "a").expect("start a").at(3).ready("a").expect("grant 1")``

Commands that a line does not expect fail the test at the next line or at its end, so silence means "nothing". After
every event the invariants hold, no deadline lies in the past, and looking again decides nothing new. When the test
ends, everything it recorded is replayed and must be decided in the same way.
"""

import math
from dataclasses import replace

import pytest

from llama_swap.scheduler import Scheduler, replay
from llama_swap.scheduler.commands import GrantLease, KillProcess, RejectRequest, StartProcess, StopProcess
from llama_swap.scheduler.events import (
    ConfigChanged,
    DeadlineReached,
    ProcessExited,
    ProcessReady,
    ReadinessFailed,
    RequestArrived,
    RequestGone,
    ShutdownRequested,
    UnloadRequested,
)
from llama_swap.scheduler.reconcile import reconcile
from llama_swap.scheduler.spec import Limits, MatrixSpec, ModelSpec, SchedulerSpec


def make_spec(models, groups=(), *, limits=None, matrix=None, **common):
    """A specification: a letter a model, or a mapping from model to what is special about it.

    ``matrix`` is what ``MatrixSpec`` takes, or just its sets.
    """
    if matrix is not None:
        matrix = MatrixSpec(**matrix) if "sets" in matrix else MatrixSpec(matrix)
    special = models if isinstance(models, dict) else {name: {} for name in models}
    return SchedulerSpec(
        models={name: ModelSpec(name, **({"fingerprint": "v1"} | common | keys)) for name, keys in special.items()},
        groups=tuple(groups),
        limits=Limits(**(limits or {})),
        matrix=matrix,
    )


def words(command):
    """A command as a playbook writes it."""
    match command:
        case StartProcess():
            return f"start {command.model}"
        case StopProcess():
            return f"stop {command.model}"
        case KillProcess():
            return f"kill {command.model}"
        case GrantLease():
            return f"grant {command.request_id}"
        case RejectRequest():
            return f"reject {command.request_id} {command.reason}"


def assert_settled(scheduler, now):
    """Looking again at everything, the short path for ready models left out, decides nothing new."""
    state = scheduler._state.copy()
    state.calm_until = -math.inf
    assert reconcile(state, now) == []


class Play:
    """One conversation with a scheduler."""

    def __init__(self, spec):
        self.spec = spec
        self.scheduler = Scheduler(spec)
        self.now = 0.0
        self.said = []
        self.commands = []  # the latest, as objects
        self.instance_ids = {}

    def at(self, now):
        """Let the clock show this time."""
        assert now >= self.now, "time runs forward"
        self.now = float(now)
        return self

    def expect(self, *lines):
        """The commands that answer the event before, in any order between different kinds of things."""
        assert sorted(self.said) == sorted(lines)
        self.said = []
        return self

    def because(self, part):
        """The single latest command gives this reason."""
        (command,) = self.commands
        assert part in command.because
        return self

    def message(self, *parts):
        """The single latest refusal tells the client all of this."""
        (command,) = self.commands
        assert isinstance(command, RejectRequest)
        for part in parts:
            assert part in command.message
        return self

    def arrives(self, request_id, model):
        """A request wants a lease."""
        return self.tell(RequestArrived(request_id, model))

    def goes(self, request_id, *, served=True):
        """A request ended, or its client left."""
        return self.tell(RequestGone(request_id, served))

    def ready(self, model):
        """The readiness probe of the model's latest instance succeeded."""
        return self.tell(ProcessReady(self.instance_ids[model]))

    def never_ready(self, model, detail):
        """The latest instance can never become ready."""
        return self.tell(ReadinessFailed(self.instance_ids[model], detail))

    def exits(self, model, detail="exit code 0", tail=()):
        """The latest instance is gone."""
        return self.tell(ProcessExited(self.instance_ids[model], detail, tail))

    def unloads(self, model=None):
        """Somebody unloads one model or all."""
        return self.tell(UnloadRequested(model))

    def reloads(self, spec):
        """A new configuration is in force."""
        self.spec = spec
        return self.tell(ConfigChanged(spec))

    def shuts_down(self):
        """The service ends."""
        return self.tell(ShutdownRequested())

    def ticks(self):
        """A timer fires, perhaps for nothing."""
        return self.tell(DeadlineReached())

    def wakes(self, at):
        """The scheduler asks to be woken at this time (None: never), and is."""
        assert self.scheduler.next_deadline() == at
        return self.at(at).ticks() if at is not None else self

    def loaded(self, model, request_id=1000):
        """Bring a model to ready by a request that is served at once."""
        self.arrives(request_id, model).expect(f"start {model}")
        self.ready(model).expect(f"grant {request_id}")
        return self.goes(request_id)

    def tell(self, event):
        """Report any event."""
        assert self.said == [], "commands that nobody expected"
        self.commands = self.scheduler.handle(event, now=self.now)
        for command in self.commands:
            if isinstance(command, StartProcess):
                self.instance_ids[command.model] = command.instance_id
        self.said = [words(command) for command in self.commands]
        self.scheduler.check_invariants()
        deadline = self.scheduler.next_deadline()
        assert deadline is None or deadline > self.now, "a deadline that was reached must disappear"
        assert_settled(self.scheduler, self.now)
        return self

    def explain(self, model):
        """What a request for the model would lead to."""
        return self.scheduler.explain(model, now=self.now)

    def phase(self, model):
        """What the model is now."""
        return next(m.standing for m in self.snapshot().models if m.model == model)

    def snapshot(self):
        """The state now."""
        return self.scheduler.snapshot(now=self.now)

    def changed(self, model, **keys):
        """The specification with one model changed; give a fingerprint to change its process."""
        models = dict(self.spec.models)
        models[model] = replace(models[model], **keys)
        return replace(self.spec, models=models)

    def without(self, model):
        """The specification without one model."""
        return replace(self.spec, models={name: m for name, m in self.spec.models.items() if name != model})


@pytest.fixture
def play():
    """``play(models, groups, limits={...}, ttl_seconds=..., ...)`` begins a conversation."""
    plays = []

    def begin(models, groups=(), **keys):
        plays.append(Play(make_spec(models, groups, **keys)))
        return plays[-1]

    begin.spec = make_spec
    yield begin
    for one in plays:
        assert one.said == [], "commands that nobody expected"
        recording = one.scheduler.recording()
        assert replay(recording) == [entry.commands for entry in recording.entries]
