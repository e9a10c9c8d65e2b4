"""The same world where memory decides, or may: cards that fill up, needs that are wrong, drivers that lag and lie low.

What the scheduler asks for is answered late, by readings that are true for the moment they began in. Where needs are
right no process ever runs out of memory; where they are wrong, still every waiter gets its answer and nobody is cut.
"""

from dataclasses import replace

import pytest
from cards import GIB, Machine, need
from configurations import MODELS, specs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from test_properties import World

from llama_swap.scheduler import Phase, RuleKind
from llama_swap.scheduler.commands import AssessNeed, MeasureMemory, StartProcess, StopCause, StopProcess
from llama_swap.scheduler.events import (
    ConfigChanged,
    DeadlineReached,
    LoadPostponed,
    NeedAssessed,
    PinChanged,
    ProcessExited,
    RequestArrived,
    Terms,
    YieldEnded,
    YieldRequested,
)
from llama_swap.scheduler.memory import HOST, NeedSource
from llama_swap.scheduler.placing import placements_of
from llama_swap.scheduler.policy.seating import Step
from llama_swap.scheduler.spec import FitSpec, SchedulerSpec, WhileYielded, YieldSpec

SIZES = [0, 2, 4, 6, 10, 14, 20, 30]

machines = st.builds(Machine, st.lists(st.sampled_from([8, 12, 24]), max_size=3), st.sampled_from([16, 64]))
needs = st.sampled_from([None, *SIZES, {"0": 4, "1": 6}])
fits = st.builds(
    FitSpec,
    when_measured=st.booleans(),
    headroom_bytes=st.sampled_from([0, GIB]),
    host_headroom_bytes=st.just(0),
    min_residency_seconds=st.sampled_from([0.0, 3.0]),
    read_ahead=st.booleans(),
)
yields = st.builds(
    YieldSpec,
    free_below_bytes=st.sampled_from([0, 0, 4 * GIB]),
    drain_seconds=st.sampled_from([0.0, 2.0, 10.0]),
    return_after_seconds=st.sampled_from([0.0, 1.0, 5.0]),
    requests=st.sampled_from(WhileYielded),
)
terms = st.builds(
    Terms,
    caller=st.sampled_from(["", "x", "y"]),
    priority=st.sampled_from([0, 0, 2]),
    keep_alive_seconds=st.sampled_from([None, None, 0.0, 3.0, float("inf")]),
)


@st.composite
def memory_specs(draw):
    """Any configuration, mostly one where memory decides."""
    spec = draw(specs())
    models = {
        name: replace(
            model,
            pin=draw(st.sampled_from([False, False, False, True])),
            evict_cost=draw(st.sampled_from([None, None, 0.0, 50.0])),
            devices=draw(st.sampled_from([None, None, None, (), ("0",), ("1",), ("*",)])),
        )
        for name, model in spec.models.items()
    }
    limits = replace(spec.limits, fair_share_seconds=draw(st.sampled_from([0.0, 5.0])))
    rules = {"fit": draw(fits | fits | st.none()), "yielding": draw(yields)}
    timeout = draw(st.sampled_from([0.0, 2.0, 5.0]))
    return SchedulerSpec(models, spec.groups, limits, spec.matrix, release_timeout_seconds=timeout, **rules)


class MemoryWorld(World):
    """The world, and the memory in it."""

    @initialize(spec=memory_specs(), machine=machines, needs=st.fixed_dictionaries(dict.fromkeys(MODELS, needs)))
    def begin(self, spec, machine, needs):
        """Start with any configuration on any machine."""
        self.start(spec)
        self.machine = machine
        self.needs = {model: need(size) for model, size in needs.items()}
        self.is_honest = True
        self.asked_at = None
        self.unassessed = []

    # --- the scheduler's side --------------------------------------------------------------

    def obey(self, command):
        """Errands are noted and answered later."""
        match command:
            case MeasureMemory():
                assert self.asked_at is None, "asked twice"
                self.asked_at = self.now
            case AssessNeed(model, fingerprint):
                assert (model, fingerprint) not in self.unassessed, "asked twice"
                assert self.spec.models[model].fingerprint == fingerprint
                self.unassessed.append((model, fingerprint))
            case StopProcess() if command.cause is StopCause.EVICTED:
                assert not self.is_pinned(command.model), "a pinned model is evicted"
                super().obey(command)
            case StopProcess() if command.cause is StopCause.IDLE:
                assert not self.is_pinned(command.model), "a pinned model is unloaded for being idle"
                super().obey(command)
            case _:
                super().obey(command)

    def explanation_agrees(self, said, commands):
        """But that what is refused on the reading of before is measured once more first."""
        own = next((w for w in self.scheduler.snapshot(now=self.now).queue if w.request_id == self.next_request), None)
        if not said.refusal or own is None or "the memory is being measured" not in own.blocked_by:
            super().explanation_agrees(said, commands)

    def is_pinned(self, model):
        """What configuration and people say."""
        return self.scheduler._state.is_pinned(model)

    def check_neighbours(self, command: StartProcess):
        """What is promised is there: where the needs are right, no process runs out of memory."""
        state = self.scheduler._state
        if self.scheduler.snapshot(now=self.now).rule is not RuleKind.FIT:
            named = self.spec.models[command.model].devices
            self.machine.starts(command, self.needs[command.model], named)
            if not state.yields:
                super().check_neighbours(command)
            return
        wanted, named = self.needs[command.model], self.spec.models[command.model].devices
        is_known = wanted.source is not NeedSource.UNKNOWN and self.is_honest and not self.machine.problem
        enough = self.machine.starts(command, wanted, named)
        assert enough or not is_known, f"{command.model} runs out of memory"
        newcomer = state.instances[command.model]
        for pool, size in newcomer.claims.reserved.items():
            assert size <= state.memory.pools[pool].total_bytes, "more was promised than there is"
        for other in state.instances.values():
            beside = {pool for pool in newcomer.claims.reserved if other.claims.of(pool)} - {HOST}
            if other is not newcomer and beside and (newcomer.is_alone or (other.is_alone and not other.is_looked_at)):
                assert self.is_pinned(other.model if newcomer.is_alone else command.model), "it was to run alone"

    # --- the driver -------------------------------------------------------------------------

    @precondition(lambda self: self.asked_at is not None)
    @rule()
    def measures(self):
        """A reading that was asked for comes, true for now."""
        self.asked_at = None
        self.tell(self.machine.measured(self.now))

    @rule()
    def measures_unasked(self):
        """As at the start of the service."""
        self.asked_at = None
        self.tell(self.machine.measured(self.now))

    @precondition(lambda self: self.unassessed)
    @rule()
    def assesses(self):
        """What a model needs is found out."""
        model, fingerprint = self.unassessed.pop(0)
        self.tell(NeedAssessed(model, fingerprint, self.needs[model]))

    @rule(model=st.sampled_from(MODELS), gib=st.sampled_from([0, 3, 12, 40]))
    def was_wrong(self, model, gib):
        """From now on a model takes something else than it is said to need."""
        self.is_honest = False
        self.machine.takes[model] = gib

    @rule(number=st.integers(0, 2), gib=st.sampled_from([0, 2, 6, 20]))
    def others_use(self, number, gib):
        """A foreign program starts or ends; the next reading that is good enough shows it."""
        if number < len(self.machine.gpus):
            ours_and_dead = self.machine.gpus[number] - self.machine.foreign[number] - self.machine.free(number)
            self.machine.foreign[number] = max(0, min(gib, self.machine.gpus[number] - ours_and_dead))
            if any(view.phase is Phase.STARTING for view in self.scheduler.snapshot(now=self.now).instances):
                self.is_honest = False  # it may take what a loading model was promised
            self.now += 1.5

    @rule(slow=st.sets(st.sampled_from(MODELS)))
    def driver_lags(self, slow):
        """The memory of these comes back late from now on; what lingered is back."""
        self.machine.slow = slow
        self.machine.lingering.clear()

    @rule(problem=st.sampled_from(["", "the driver does not answer"]), tells_who=st.booleans())
    def driver_changes(self, problem, tells_who):
        """It vanishes or comes back, and does not always say who has what."""
        self.is_honest &= not problem and tells_who == self.machine.tells_who
        self.machine.problem, self.machine.tells_who = problem, tells_who

    def exit(self, instance_id):
        """A process is gone; its memory too, or not yet."""
        self.machine.exits(instance_id, self.alive[instance_id])
        super().exit(instance_id)

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def runs_out_of_memory(self, data):
        """While it loads, or later."""
        instance_id = data.draw(st.sampled_from(sorted(self.alive)))
        self.machine.exits(instance_id, self.alive[instance_id])
        del self.alive[instance_id]
        for request_id in [r for r, i in self.served.items() if i == instance_id]:
            del self.served[request_id]
            self.answered.add(request_id)
        self.tell(ProcessExited(instance_id, "exit code 1", ("out of memory",), out_of_memory=True))

    # --- people --------------------------------------------------------------------------------

    @rule(model=st.sampled_from(MODELS), terms=terms)
    def arrives_with_terms(self, model, terms):
        """A client with a name, a priority or a wish about how long."""
        self.next_request += 1
        self.waiting[self.next_request] = (model, self.now)
        self.tell(RequestArrived(self.next_request, model, terms))

    @rule(spec=memory_specs())
    def reloads(self, spec):
        """Any other configuration comes into force."""
        self.spec = spec
        self.tell(ConfigChanged(spec))

    @rule(model=st.sampled_from(MODELS), pinned=st.booleans())
    def pins(self, model, pinned):
        """Somebody pins or unpins a model."""
        self.tell(PinChanged(model, pinned))

    @rule(model=st.sampled_from(MODELS))
    def postpones(self, model):
        """A model could not be loaded with the service."""
        self.tell(LoadPostponed(model))

    @rule(
        holder=st.sampled_from(["me", "gamemode"]),
        devices=st.sampled_from([(), ("0",), ("GPU-1",)]),
        seconds=st.sampled_from([None, 1.0, 8.0]),
    )
    def yields(self, holder, devices, seconds):
        """Somebody wants devices."""
        self.tell(YieldRequested(holder, devices, None if seconds is None else self.now + seconds))

    @rule(holder=st.sampled_from([None, "me"]))
    def yield_ends(self, holder):
        """Somebody gives them back."""
        self.tell(YieldEnded(holder))

    # --- promises ---------------------------------------------------------------------------------

    @invariant()
    def sleeps_well(self):
        """A deadline that was reached has disappeared."""
        if hasattr(self, "scheduler"):
            deadline = self.scheduler.next_deadline()
            assert deadline is None or deadline > self.scheduler._state.now

    @invariant()
    def waits_are_bounded(self):
        """Who is overdue and first in line drains what is in its way, unless something is yet to be found out."""
        if not hasattr(self, "machine"):
            return
        state = self.scheduler._state
        if not state.is_ruled_by_memory:
            return
        placements = placements_of(state.copy(), state.now)
        for placement in placements[:1]:
            if placement.candidate.is_overdue and placement.step is Step.WAIT:
                assert placement.note, f"{placement} is overdue and waits"

    @invariant()
    def yielded_devices_are_left(self):
        """Nobody stays there beyond what it serves."""
        if not hasattr(self, "machine"):
            return
        for view in self.scheduler._state.instances.values():
            assert not view.is_yielded or view.leases or view.is_leaving

    def settle(self):
        """The driver answers, others leave, people give back: then everybody gets an answer."""
        self.machine.problem, self.machine.slow = "", set()
        self.machine.lingering.clear()
        self.machine.foreign = dict.fromkeys(self.machine.foreign, 0)
        self.tell(YieldEnded(None))
        for _ in range(200):
            if not self.waiting and not self.served and not self.closing:
                return
            if self.closing and not self.alive:
                assert self.scheduler.snapshot(now=self.now).is_finished
                return
            self.one_step()
            self.holds()
            self.sleeps_well()
        pytest.fail(f"the world does not settle: {self.waiting} wait, {self.alive} alive")

    def one_step(self):
        """Everything that is due happens once; time passes only when nothing is."""
        before = len(self.scheduler.recording().entries)
        for instance_id in sorted(self.alive):
            if instance_id in self.asked:
                self.exit(instance_id)
            elif instance_id not in self.was_ready:
                self.becomes_ready_now(instance_id)
        for request_id in sorted(self.served):
            if request_id in self.served:
                self.end(request_id, served=True)
        while self.unassessed:
            self.assesses()
        if self.asked_at is not None:
            self.measures()
        deadline = self.scheduler.next_deadline()
        if deadline is not None and len(self.scheduler.recording().entries) == before:
            self.now = max(self.now, deadline)
            self.tell(DeadlineReached())


MemoryWorld.TestCase.settings = settings(
    max_examples=120, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestMemoryWorld = MemoryWorld.TestCase
