"""The scheduler against a world that does anything at any time.

Rules are what the outside can do: clients come and go, processes become ready, crash, ignore a stop until they are
killed, report late or twice; people unload and reload; timers fire late. After every step the scheduler's own
invariants hold, and a second, independent book-keeping here checks the promises from outside. At the end the world
settles - processes obey, nobody new comes - and every request must have got its answer.
"""

import math
from dataclasses import replace

import pytest
from configurations import MODELS, may_start, specs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llama_swap.scheduler import Outcome, Phase, Scheduler, replay
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


class World(RuleBasedStateMachine):
    """Everything outside the scheduler, and what it has been promised."""

    @initialize(spec=specs())
    def begin(self, spec):
        """Start with any configuration."""
        self.start(spec)

    def start(self, spec):
        """The books at the beginning."""
        self.spec = spec
        self.scheduler = Scheduler(spec)
        self.now = 0.0
        self.next_request = 0
        self.waiting = {}  # request -> (model, since)
        self.served = {}  # request -> instance
        self.answered = set()
        self.alive = {}  # instance -> model; until its exit
        self.was_ready = set()
        self.asked = {}  # instance -> reason of the stop
        self.killed = set()
        self.closing = False

    # --- the scheduler's side ------------------------------------------------------

    def tell(self, event):
        """Report an event and obey."""
        commands = self.scheduler.handle(event, now=self.now)
        for command in commands:
            assert command.because
            self.obey(command)
        return commands

    def explanation_agrees(self, said, commands):
        """What was said about the latest request is what has happened to it."""
        own = self.next_request
        refusals = [c for c in commands if isinstance(c, RejectRequest) and c.request_id == own]
        assert [replace(said.refusal, request_id=own)] == refusals if said.refusal else not refusals
        if refusals:
            assert said.outcome is Outcome.REFUSED
            return  # what else happens is for others who wait for the same model
        assert (said.outcome is Outcome.SERVED) == (own in self.served)
        starts = any(isinstance(c, StartProcess) and c.model == said.model for c in commands)
        assert (said.outcome is Outcome.STARTS) == starts
        stops = {(c.model, c.because) for c in commands if isinstance(c, StopProcess) and c.needed_by == said.model}
        would_stop = {(departure.model, departure.because) for departure in said.would_stop}
        assert (said.outcome is Outcome.EVICTS) == bool(stops)
        assert stops <= would_stop
        view = next((w for w in self.scheduler.snapshot(now=self.now).queue if w.request_id == own), None)
        assert (said.position, said.waits_for) == ((view.position, view.blocked_by) if view else (0, ""))
        assert (said.rule is None) == (not said.would_start)

    def obey(self, command):
        """Check a command against the promises and carry it out."""
        match command:
            case StartProcess(instance_id, model):
                assert not self.closing
                assert instance_id not in self.alive
                is_waited_for = any(m == model for m, _ in self.waiting.values())
                assert is_waited_for or "by itself" in command.because, "a start that nobody waits for"
                assert model not in self.alive.values(), "a model runs twice"
                self.check_neighbours(command)
                self.alive[instance_id] = model
            case StopProcess(instance_id, model, because):
                assert instance_id in self.alive
                assert instance_id not in self.asked, "stopped twice"
                if "needs the place" in because or "ttl" in because:
                    assert instance_id not in self.served.values(), "evicted under a lease"
                if "needs the place" in because and instance_id not in self.was_ready:
                    assert not any(m == model for m, _ in self.waiting.values()), (
                        "a load that somebody waits for is lost"
                    )
                self.asked[instance_id] = because
            case KillProcess(instance_id):
                assert instance_id in self.asked
                assert instance_id not in self.killed
                self.killed.add(instance_id)
            case GrantLease(request_id, instance_id, model):
                assert self.waiting.pop(request_id)[0] == model == self.alive[instance_id]
                assert instance_id in self.was_ready
                assert instance_id not in self.asked
                self.served[request_id] = instance_id
            case RejectRequest(request_id, model, _, message, _, _):
                assert self.waiting.pop(request_id)[0] == model
                assert f"model {model}" in message
                self.answered.add(request_id)

    def check_neighbours(self, command):
        """The rules allow what runs together."""
        running = sorted(self.alive.values())
        assert may_start(self.spec, command.model, running), f"{command.model} started beside {running}"

    # --- clients ---------------------------------------------------------------------

    @rule(model=st.sampled_from(MODELS))
    def arrives(self, model):
        """A client asks for a model, known or not; what happens is what was said before."""
        before = self.scheduler._state.copy()
        said = self.scheduler.explain(model, now=self.now)
        assert self.scheduler._state.copy() == before, "saying it has changed something"
        self.next_request += 1
        self.waiting[self.next_request] = (model, self.now)
        commands = self.tell(RequestArrived(self.next_request, model))
        self.explanation_agrees(said, commands)

    @precondition(lambda self: self.served)
    @rule(data=st.data(), served=st.booleans())
    def ends(self, data, served):
        """A served request ends."""
        self.end(data.draw(st.sampled_from(sorted(self.served))), served=served)

    def end(self, request_id, *, served):
        """End one served request."""
        del self.served[request_id]
        self.answered.add(request_id)
        self.tell(RequestGone(request_id, served))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leaves(self, data):
        """A waiting client gives up."""
        request_id = data.draw(st.sampled_from(sorted(self.waiting)))
        del self.waiting[request_id]
        self.answered.add(request_id)
        self.tell(RequestGone(request_id))

    @precondition(lambda self: self.answered)
    @rule(data=st.data(), served=st.booleans())
    def ends_again(self, data, served):
        """The end of a request is told twice."""
        self.tell(RequestGone(data.draw(st.sampled_from(sorted(self.answered))), served))

    # --- processes ---------------------------------------------------------------------

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def becomes_ready(self, data):
        """Perhaps too late, perhaps a second time."""
        instance_id = data.draw(st.sampled_from(sorted(self.alive)))
        is_new = instance_id not in self.asked and instance_id not in self.was_ready
        if instance_id not in self.asked:
            self.was_ready.add(instance_id)
        self.tell(ProcessReady(instance_id))
        if is_new:
            left_out = [r for r, (model, _) in self.waiting.items() if model == self.alive[instance_id]]
            assert not left_out, "somebody waited for the load and was not served"

    def becomes_ready_now(self, instance_id):
        """The probe of one process succeeds."""
        self.was_ready.add(instance_id)
        self.tell(ProcessReady(instance_id))

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def readiness_fails(self, data):
        """A probe finds that it will never do."""
        self.tell(ReadinessFailed(data.draw(st.sampled_from(sorted(self.alive))), "a foreign listener"))

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def exits(self, data):
        """Because it was asked to, or by a crash."""
        self.exit(data.draw(st.sampled_from(sorted(self.alive))))

    def exit(self, instance_id):
        """A process is gone and its connections with it."""
        del self.alive[instance_id]
        for request_id in [r for r, i in self.served.items() if i == instance_id]:
            del self.served[request_id]  # the data plane sees the connection break
            self.answered.add(request_id)
        self.tell(ProcessExited(instance_id, "exit code 1", ("boom",)))

    @rule(instance_id=st.integers(1, 40), kind=st.sampled_from([ProcessReady, ReadinessFailed, ProcessExited]))
    def late_event(self, instance_id, kind):
        """Something about an instance that is gone or never was."""
        if instance_id not in self.alive:
            self.tell(ProcessReady(instance_id) if kind is ProcessReady else kind(instance_id, "late"))

    # --- people and time -----------------------------------------------------------------

    @rule(model=st.sampled_from([None, *MODELS]))
    def unloads(self, model):
        """Somebody unloads one or all."""
        self.tell(UnloadRequested(model))

    @rule(spec=specs())
    def reloads(self, spec):
        """Any other configuration comes into force."""
        self.spec = spec
        self.tell(ConfigChanged(spec))

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0, 20.0]), told=st.booleans())
    def time_passes(self, seconds, told):
        """Timers may fire late, or another event comes first."""
        self.now += seconds
        if told:
            self.tell(DeadlineReached())

    @rule()
    def sleeps_until_the_deadline(self):
        """The owner's timer fires on time."""
        deadline = self.scheduler.next_deadline()
        if deadline is not None:
            self.now = max(self.now, deadline)
            self.tell(DeadlineReached())

    @precondition(lambda self: self.next_request > 8)
    @rule()
    def shuts_down(self):
        """The service ends."""
        self.closing = True
        self.tell(ShutdownRequested())

    # --- promises --------------------------------------------------------------------------

    @invariant()
    def holds(self):
        """The invariants hold, books agree and the state is settled."""
        if not hasattr(self, "scheduler"):
            return
        self.scheduler.check_invariants()
        state = self.scheduler._state
        assert set(state.waiters) == set(self.waiting), "the scheduler lost or invented a waiter"
        assert {r: i.instance_id for r, i in state.leases.items()} == self.served
        copy = state.copy()
        copy.calm_until = -math.inf
        decided = reconcile(copy, state.now)
        assert decided == [], f"looking again decides something new: {decided}"
        self.snapshot_agrees()

    def snapshot_agrees(self):
        """What a person sees is the truth."""
        snapshot = self.scheduler.snapshot(now=self.now)
        living = {i.instance_id: i.model for i in snapshot.instances if i.phase is not Phase.RELEASING}
        assert living == self.alive
        assert [w.position for w in snapshot.queue] == list(range(1, len(self.waiting) + 1))
        idle = [w for w in snapshot.queue if not w.blocked_by]
        assert not idle, f"waits for nothing: {idle}"

    @invariant()
    def waits_are_bounded(self):
        """A waiter that is overdue at the last look has everything in its way draining, leaving or loading."""
        if not hasattr(self, "scheduler") or not self.spec.limits.max_wait_seconds:
            return
        state = self.scheduler._state
        overdue = [w for w in state.lines() if state.is_overdue(w.arrived_at, state.now) and state.needs_start(w.model)]
        for waiter in overdue[:1]:
            ahead = [h for h in state.lines() if state.rank(h) < state.rank(waiter) and state.needs_start(h.model)]
            kept = [i.model for i in state.instances.values() if i.phase == "ready" and i.model != waiter.model]
            assert ahead or may_start(self.spec, waiter.model, kept), f"{waiter} is overdue and {kept} stay"

    def teardown(self):
        """Settle, then replay all of it."""
        if not hasattr(self, "scheduler"):
            return
        self.settle()
        recording = self.scheduler.recording()
        assert replay(recording) == [entry.commands for entry in recording.entries]

    def settle(self):
        """Processes obey, requests end, nobody new comes: every request gets its answer."""
        for _ in range(100):
            if not self.waiting and not self.served and not self.closing:
                return
            for instance_id in sorted(self.alive):
                if instance_id in self.asked:
                    self.exit(instance_id)
                elif instance_id not in self.was_ready:
                    self.becomes_ready_now(instance_id)
            for request_id in sorted(self.served):
                if request_id in self.served:
                    self.end(request_id, served=True)
            if self.closing and not self.alive:
                assert self.scheduler.snapshot(now=self.now).is_finished
                return
            self.holds()
        pytest.fail(f"the world does not settle: {self.waiting} wait, {self.alive} alive")


World.TestCase.settings = settings(
    max_examples=200, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestWorld = World.TestCase
