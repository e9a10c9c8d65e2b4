"""Playbooks: a test of the scheduler reads as a conversation.

``play("ab").at(0).arrives(1, "a").expect("start a").at(3).ready("a").expect("grant 1")``

Commands that a line does not expect fail the test at the next line or at its end, so silence means "nothing". After
every event the invariants hold, no deadline lies in the past, and looking again decides nothing new. When the test
ends, everything it recorded is replayed and must be decided in the same way.

``play_fit({"a": 10, "b": 8}, gpus=[24])`` is about memory: needs in GiB on a simulated machine that takes part in the
conversation by itself. It answers what the scheduler asks, processes take what they need when they start and give it
back when they exit, so a playbook says only who arrives, gets ready and exits.
"""

import math
from dataclasses import replace

import pytest
from cards import GIB, Machine, need

from llama_swap.scheduler import Scheduler, replay
from llama_swap.scheduler.commands import (
    AssessNeed,
    GrantLease,
    KillProcess,
    MeasureMemory,
    ReadAhead,
    RejectRequest,
    StartProcess,
    StopProcess,
    StopReadingAhead,
)
from llama_swap.scheduler.events import (
    NO_TERMS,
    ConfigChanged,
    DeadlineReached,
    LoadPostponed,
    NeedAssessed,
    PinChanged,
    ProcessExited,
    ProcessReady,
    ReadinessFailed,
    RequestArrived,
    RequestGone,
    ShutdownRequested,
    Terms,
    UnloadRequested,
    YieldEnded,
    YieldRequested,
)
from llama_swap.scheduler.reconcile import reconcile
from llama_swap.scheduler.spec import FitSpec, GroupSpec, Limits, MatrixSpec, ModelSpec, SchedulerSpec, YieldSpec

VERBS = {
    StartProcess: "start",
    StopProcess: "stop",
    KillProcess: "kill",
    AssessNeed: "assess",
    ReadAhead: "read",
    StopReadingAhead: "unread",
}


def make_spec(models, groups=(), *, limits=None, matrix=None, rules=None, **common):
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
        **(rules or {}),
    )


def words(command):
    """A command as a playbook writes it."""
    match command:
        case GrantLease():
            return f"grant {command.request_id}"
        case RejectRequest():
            return f"reject {command.request_id} {command.reason}"
        case MeasureMemory():
            return "measure"
    return f"{VERBS[type(command)]} {command.model}"


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

    def arrives(self, request_id, model, **terms):
        """A request wants a lease."""
        return self.tell(RequestArrived(request_id, model, Terms(**terms) if terms else NO_TERMS))

    def goes(self, request_id, *, served=True):
        """A request ended, or its client left."""
        return self.tell(RequestGone(request_id, served))

    def ready(self, model):
        """The readiness probe of the model's latest instance succeeded."""
        return self.tell(ProcessReady(self.instance_ids[model]))

    def never_ready(self, model, detail):
        """The latest instance can never become ready."""
        return self.tell(ReadinessFailed(self.instance_ids[model], detail))

    def exits(self, model, detail="exit code 0", tail=(), *, out_of_memory=False):
        """The latest instance is gone."""
        return self.tell(ProcessExited(self.instance_ids[model], detail, tail, out_of_memory))

    def unloads(self, model=None):
        """Somebody unloads one model or all."""
        return self.tell(UnloadRequested(model))

    def reloads(self, spec):
        """A new configuration is in force."""
        self.spec = spec
        return self.tell(ConfigChanged(spec))

    def measured(self, reading, *, at=None):
        """A reading of the memory comes; of now unless it says otherwise."""
        return self.tell(replace(reading, at=self.now if at is None else at))

    def assessed(self, model, size, **keys):
        """What a model needs is known: GiB on devices, by device, or None."""
        return self.tell(NeedAssessed(model, self.spec.models[model].fingerprint, need(size, **keys)))

    def pins(self, model, *, pinned=True):
        """Somebody pins a model, or unpins it."""
        return self.tell(PinChanged(model, pinned))

    def postpones(self, model):
        """A model could not be loaded with the service."""
        return self.tell(LoadPostponed(model))

    def yields(self, *devices, holder="me", seconds=None, because="a game"):
        """Somebody wants devices for other programs."""
        return self.tell(YieldRequested(holder, devices, None if seconds is None else self.now + seconds, because))

    def yield_ends(self, holder=None):
        """The devices come back."""
        return self.tell(YieldEnded(holder))

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
        self.commands = self.handle(event)
        self.said = [words(command) for command in self.commands]
        return self

    def handle(self, event):
        """What the scheduler says to an event, checked."""
        commands = self.scheduler.handle(event, now=self.now)
        for command in commands:
            assert command.because
            if isinstance(command, StartProcess):
                self.instance_ids[command.model] = command.instance_id
        self.scheduler.check_invariants()
        deadline = self.scheduler.next_deadline()
        assert deadline is None or deadline > self.now, "a deadline that was reached must disappear"
        assert_settled(self.scheduler, self.now)
        return commands

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


class FitPlay(Play):
    """A conversation on a simulated machine, which answers what the scheduler wants to know."""

    def __init__(self, spec, needs, machine):
        super().__init__(spec)
        self.needs = needs
        self.machine = machine
        self.answers = True
        self.handle(machine.measured(self.now))

    def handle(self, event):
        """The machine takes part, and answers at once unless ``answers`` is off."""
        if isinstance(event, ProcessExited):
            model = next((m for m, i in self.instance_ids.items() if i == event.instance_id), "")
            self.machine.exits(event.instance_id, model)
        commands = super().handle(event)
        for command in tuple(commands):
            if isinstance(command, StartProcess):
                named = self.spec.models[command.model].devices
                self.machine.starts(command, self.needs.get(command.model, need(0)), named)
            elif self.answers and isinstance(command, MeasureMemory):
                commands.remove(command)
                commands += self.handle(self.machine.measured(self.now))
            elif self.answers and isinstance(command, AssessNeed):
                commands.remove(command)
                needed = self.needs.get(command.model, need(None))
                commands += self.handle(NeedAssessed(command.model, command.fingerprint, needed))
        return commands

    def measures(self):
        """The machine is looked at now."""
        return self.tell(self.machine.measured(self.now))

    def claims(self, model):
        """What is promised to a model, in GiB by pool."""
        view = next(i for i in self.snapshot().instances if i.model == model)
        return {pool: size / GIB for pool, size in view.claims.items()}

    def runs(self, *models):
        """Bring models to ready, one after the other, beside each other."""
        for model in models:
            self.loaded(model, request_id=1000 + len(self.instance_ids))
        return self


@pytest.fixture
def play():
    """``play(models, groups, limits={...}, ttl_seconds=..., ...)`` begins a conversation."""
    plays = []

    def begin(models, groups=(), **keys):
        plays.append(Play(make_spec(models, groups, **keys)))
        return plays[-1]

    begin.spec = make_spec
    begin.group = lambda members: GroupSpec("together", tuple(members), swap=False)
    yield begin
    check_replay(plays)


@pytest.fixture
def play_fit():
    """``play_fit({model: GiB}, gpus=[24], host=64, fit={...}, yielding={...}, models={...}, ...)``: by memory."""
    plays = []

    def begin(
        needs,
        gpus=(24,),
        *,
        host=64,
        foreign=(),
        fit=None,
        yielding=None,
        models=None,
        release=5.0,
        decides=True,
        **keys,
    ):
        plain = {"headroom_bytes": 0, "host_headroom_bytes": 0, "min_residency_seconds": 0.0, "read_ahead": False}
        rules = {
            "fit": FitSpec(**(plain | (fit or {}))) if decides else None,
            "yielding": YieldSpec(**(yielding or {})),
            "release_timeout_seconds": release,
        }
        special = {name: (models or {}).get(name, {}) for name in needs}
        spec = make_spec(special, rules=rules, **keys)
        machine = Machine(gpus, host)
        machine.foreign.update(enumerate(foreign))
        plays.append(FitPlay(spec, {name: need(size) for name, size in needs.items()}, machine))
        return plays[-1]

    yield begin
    check_replay(plays)


def check_replay(plays):
    """Nothing was left unsaid, and everything is decided in the same way again."""
    for one in plays:
        assert one.said == [], "commands that nobody expected"
        recording = one.scheduler.recording()
        assert replay(recording) == [entry.commands for entry in recording.entries]
