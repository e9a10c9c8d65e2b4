"""A day of traffic in virtual time: the real scheduler, or a naive one, against modelled processes and clients.

``simulate(policy, workload)`` returns scores. The naive baseline is what a first version of such a service does: one
queue, one model at a time, strictly in the order of arrival, everything drained before each swap.
"""

import heapq
import itertools
import random
from dataclasses import dataclass, field

import pytest

from llama_swap.scheduler import Scheduler
from llama_swap.scheduler.commands import GrantLease, RejectRequest, StartProcess, StopProcess
from llama_swap.scheduler.events import DeadlineReached, ProcessExited, ProcessReady, RequestArrived, RequestGone
from llama_swap.scheduler.spec import GroupSpec, Limits, ModelSpec, SchedulerSpec

LOAD_SECONDS = {"a": 20.0, "b": 12.0, "c": 3.0}
STOP_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """A request: when it comes, for how long it is served, and how long its client waits for the first byte."""

    at: float
    model: str
    seconds: float
    patience: float = float("inf")


@dataclass
class Scores:
    """What came of a workload."""

    waits: dict = field(default_factory=dict)  # model -> seconds from arrival to lease
    starts: int = 0
    lost: int = 0
    ended: float = 0.0

    def all_waits(self):
        """Waits of all models in ascending order."""
        return sorted(wait for waits in self.waits.values() for wait in waits)

    def percentile(self, share):
        """The wait that this share of requests did not exceed."""
        waits = self.all_waits()
        return waits[min(len(waits) - 1, int(share * len(waits)))]

    @property
    def worst(self):
        """The longest wait."""
        return max(self.all_waits())

    @property
    def starts_per_hour(self):
        """Loads by the hour."""
        return self.starts / self.ended * 3600

    @property
    def fairness(self):
        """Jain's index over the mean waits of the models: 1 is even, 1/n is one model bearing all."""
        means = [sum(waits) / len(waits) + 1e-9 for waits in self.waits.values()]
        return sum(means) ** 2 / (len(means) * sum(mean**2 for mean in means))


class NaiveScheduler:
    """One model at a time, strictly in the order of arrival; the baseline to beat."""

    def __init__(self, _spec):
        self.line = []
        self.running = None  # (instance, model)
        self.is_ready = False
        self.leases = set()
        self.ids = itertools.count(1)

    def next_deadline(self):
        """It has no sense of time."""
        return

    def handle(self, event, *, now):
        """Take an event as the real one does; time means nothing to it."""
        match event:
            case RequestArrived(request_id, model):
                self.line.append((request_id, model))
            case RequestGone(request_id):
                self.leases.discard(request_id)
                self.line = [entry for entry in self.line if entry[0] != request_id]
            case ProcessReady():
                self.is_ready = True
            case ProcessExited():
                self.running = None
        return self.decide()

    def decide(self):
        """Serve the front of the line, else swap."""
        commands = []
        while self.line and self.is_ready and self.line[0][1] == self.running[1]:
            request_id, model = self.line.pop(0)
            self.leases.add(request_id)
            commands.append(GrantLease(request_id, self.running[0], model, ""))
        if self.line and self.running is None:
            self.running = (next(self.ids), self.line[0][1])
            commands.append(StartProcess(*self.running, ""))
        elif self.line and self.is_ready and not self.leases:
            self.is_ready = False
            commands.append(StopProcess(*self.running, ""))
        return commands


class Simulation:
    """One run of a workload."""

    def __init__(self, scheduler, jobs):
        self.scheduler = scheduler
        self.jobs = dict(enumerate(jobs, start=1))
        self.agenda = []
        self.tie = itertools.count()
        self.granted = set()
        self.scores = Scores()

    def run(self):
        """Play all jobs to their end."""
        for request_id, job in self.jobs.items():
            self.plan(job.at, RequestArrived(request_id, job.model))
            if job.patience < float("inf"):
                self.plan(job.at + job.patience, ("impatient", request_id))
        now = 0.0
        while self.agenda:
            deadline = self.scheduler.next_deadline()
            if deadline is not None and deadline < self.agenda[0][0]:
                now = max(now, deadline)
                self.tell(DeadlineReached(), now)
                continue
            now, _, event = heapq.heappop(self.agenda)
            if isinstance(event, tuple):
                event = self.leave(event[1])
            if event is not None:
                self.tell(event, now)
        self.scores.ended = now
        return self.scores

    def plan(self, at, event):
        """Let something happen later."""
        heapq.heappush(self.agenda, (at, next(self.tie), event))

    def leave(self, request_id):
        """A client gives up unless it is served."""
        if request_id in self.granted:
            return None
        self.scores.lost += 1
        self.granted.add(request_id)
        return RequestGone(request_id)

    def tell(self, event, now):
        """Report an event and model what its commands lead to."""
        for command in self.scheduler.handle(event, now=now):
            match command:
                case StartProcess(instance_id, model):
                    self.scores.starts += 1
                    self.plan(now + LOAD_SECONDS[model], ProcessReady(instance_id))
                case StopProcess(instance_id):
                    self.plan(now + STOP_SECONDS, ProcessExited(instance_id, "exit code 0"))
                case GrantLease(request_id, _, model):
                    job = self.jobs[request_id]
                    self.granted.add(request_id)
                    self.scores.waits.setdefault(model, []).append(now - job.at)
                    self.plan(now + job.seconds, RequestGone(request_id, served=True))
                case RejectRequest():
                    pytest.fail(f"nothing in a simulation is refused: {command}")


def spec(max_wait_seconds=10.0, groups=()):
    """Three models that share one place, unless the groups say otherwise."""
    models = {m: ModelSpec(m, "v1", start_timeout_seconds=600, stop_grace_seconds=30) for m in LOAD_SECONDS}
    return SchedulerSpec(models, tuple(groups), Limits(max_wait_seconds=max_wait_seconds))


def poisson(rng, model, *, every, seconds, until, patience=float("inf")):
    """Independent clients: one request every so many seconds on average."""
    at, jobs = 0.0, []
    while (at := at + rng.expovariate(1 / every)) < until:
        jobs.append(Job(at, model, rng.uniform(0.5, 1.5) * seconds, patience))
    return jobs


def overlapping(model, *, every, seconds, until):
    """Traffic without a gap: the model is never idle."""
    return [Job(n * every, model, seconds) for n in range(int(until / every))]


def bursts(rng, model, *, every, size, seconds, until):
    """Batches: documents to embed."""
    starts = range(int(every), int(until), int(every))
    return [Job(at + rng.uniform(0, 0.5), model, seconds) for at in starts for _ in range(size)]


WORKLOADS = {
    "agents on a, chat on b, embeddings on c": lambda rng: [
        *poisson(rng, "a", every=25, seconds=15, until=3600),
        *poisson(rng, "b", every=60, seconds=8, until=3600),
        *bursts(rng, "c", every=300, size=12, seconds=0.3, until=3600),
    ],
    "a is never idle, b now and then": lambda rng: [
        *overlapping("a", every=4, seconds=9, until=3600),
        *poisson(rng, "b", every=240, seconds=6, until=3600),
    ],
    "three models in turn, request by request": lambda _rng: [Job(n * 2.0, "abc"[n % 3], 4.0) for n in range(300)],
    "impatient clients": lambda rng: [
        *poisson(rng, "a", every=20, seconds=10, until=3600, patience=90),
        *poisson(rng, "b", every=40, seconds=10, until=3600, patience=90),
        *poisson(rng, "c", every=40, seconds=2, until=3600, patience=45),
    ],
}
GROUPS = (GroupSpec("small", ("c",), swap=False, exclusive=False, persistent=True),)


def simulate(kind, workload, *, max_wait_seconds=10.0, groups=(), seed=7):
    """Run a workload of the table through the real scheduler ("ours") or the naive one."""
    jobs = sorted(WORKLOADS[workload](random.Random(seed)), key=lambda job: job.at)
    rules = spec(max_wait_seconds, groups)
    return Simulation(Scheduler(rules) if kind == "ours" else NaiveScheduler(rules), jobs).run()


@pytest.fixture(scope="session")
def simulate_jobs():
    """``simulate_jobs(jobs, spec)``: the scores of the real scheduler on any jobs; see ``Job``, ``spec``."""

    def run(jobs, **keys):
        return Simulation(Scheduler(spec(**keys)), sorted((Job(*job) for job in jobs), key=lambda job: job.at)).run()

    return run


@pytest.fixture(name="simulate")
def _simulate():
    """``simulate(kind, workload, ...)``: the scores of a run."""
    return simulate
