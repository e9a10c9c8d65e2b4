"""Three models that share one place, with traffic that does not depend on how long it is let wait.

There is no memory here: groups say who may run beside whom.
"""

import math
import random
from dataclasses import dataclass

from llama_swap.scheduler import Scheduler
from llama_swap.scheduler.spec import GroupSpec, Limits, ModelSpec, SchedulerSpec
from simulated.baselines import FirstInFirstOut
from simulated.clients import one_request
from simulated.deeds import Ask
from simulated.machine import Machine, Model
from simulated.world import World

MODELS = {"a": Model(load_seconds=20.0), "b": Model(load_seconds=12.0), "c": Model(load_seconds=3.0)}
STOP_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """A request: when it comes, for how long it is served, and how long its client waits for the first byte."""

    at: float
    model: str
    seconds: float
    patience: float = math.inf


def spec(max_wait_seconds=10.0, groups=()):
    """Three models that share one place, unless the groups say otherwise."""
    models = {m: ModelSpec(m, "v1", start_timeout_seconds=600, stop_grace_seconds=30) for m in MODELS}
    return SchedulerSpec(models, tuple(groups), Limits(max_wait_seconds=max_wait_seconds))


def poisson(rng, model, *, every, seconds, until, patience=math.inf):
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


def play(scheduler, jobs):
    """Run jobs through a scheduler; nothing in this traffic is ever refused."""
    machine = Machine(launch_seconds=0.0, stop_seconds=STOP_SECONDS)
    clients = [(job.at, one_request(Ask(job.model, job.model, job.seconds, patience=job.patience))) for job in jobs]
    scores = World(scheduler, MODELS, machine).run(clients)
    assert not scores.turned_away
    return scores


def simulate(kind, workload, *, seed=7, **keys):
    """Run a workload of the table through the real scheduler ("ours"; for the keys see ``spec``) or a naive one."""
    scheduler = Scheduler(spec(**keys)) if kind == "ours" else FirstInFirstOut()
    return play(scheduler, WORKLOADS[workload](random.Random(seed)))
