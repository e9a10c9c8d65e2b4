"""A real scheduler to count, a made-up machine, and metrics with a value in every series."""

from dataclasses import dataclass, replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llama_swap.activity import Usage
from llama_swap.gpu import Device, ProcessUse
from llama_swap.metrics import HostSample, Metrics, ModelMemory, NetworkCount
from llama_swap.scheduler import Scheduler
from llama_swap.scheduler.commands import StartProcess
from llama_swap.scheduler.events import (
    DeadlineReached,
    ProcessExited,
    ProcessReady,
    ReadinessFailed,
    RequestArrived,
    RequestGone,
    ShutdownRequested,
    UnloadRequested,
)
from llama_swap.scheduler.memory import HOST, Need, NeedSource
from llama_swap.scheduler.snapshot import PoolView
from llama_swap.scheduler.spec import Limits, ModelSpec, SchedulerSpec
from llama_swap.scheduler.state import Phase

GIB = 1024**3

SAMPLE = HostSample(
    at=1_800_000_000.5,
    cpu_percent=(12.5, 99.0),
    total_bytes=64 * GIB,
    used_bytes=16 * GIB,
    free_bytes=8 * GIB,
    swap_total_bytes=2 * GIB,
    swap_used_bytes=1 * GIB,
    load=(1.0, 0.5, 0.25),
    network=(NetworkCount("eth0", 1000, 2000),),
)
CARD = Device(
    0,
    'Card "one"',
    uuid="GPU-1",
    total_bytes=80 * GIB,
    used_bytes=20 * GIB,
    free_bytes=60 * GIB,
    processes=(ProcessUse(1, GIB),),
    temperature_celsius=40,
    memory_temperature_celsius=50,
    utilisation_percent=70,
    fan_percent=30,
    power_watts=250.5,
)

POOLS = (
    PoolView(HOST, "RAM", None, 64 * GIB, 40 * GIB, 0, 39 * GIB, 24 * GIB),
    PoolView("GPU-1", "GPU 0 (Card)", 0, 80 * GIB, 60 * GIB, 10 * GIB, 59 * GIB, None),
)


class World:
    """A scheduler whose decisions and states the metrics are told, as the supervisor tells them."""

    def __init__(self, metrics):
        spec = {"fingerprint": "v1", "ttl_seconds": 60.0, "stop_grace_seconds": 5.0, "start_timeout_seconds": 30.0}
        models = {name: ModelSpec(name, **spec) for name in ("a", "b")}
        limits = Limits(queue_limit=3, backoff_after_failures=0, max_wait_seconds=10.0)
        self.metrics = metrics
        self.scheduler = Scheduler(SchedulerSpec(models, limits=limits))
        self.instances = {}
        self.now = 0.0

    def tell(self, event, at=None):
        """One event; returns the names of the commands."""
        self.now = self.now if at is None else at
        commands = self.scheduler.handle(event, now=self.now)
        for command in commands:
            self.metrics.observe_decision(command)
            if type(command).__name__ == "StartProcess":
                self.instances[command.model] = command.instance_id
        self.metrics.observe_snapshot(self.scheduler.snapshot(now=self.now))
        return [type(command).__name__ for command in commands]

    def arrives(self, request, model, at=None):
        """A request."""
        return self.tell(RequestArrived(request, model), at)

    def goes(self, request, at=None):
        """Its end."""
        return self.tell(RequestGone(request, served=True), at)

    def ready(self, model, at=None):
        """Its latest instance is ready."""
        return self.tell(ProcessReady(self.instances[model]), at)

    def never_ready(self, model, at=None):
        """Its latest instance never will be."""
        return self.tell(ReadinessFailed(self.instances[model], "no"), at)

    def exits(self, model, at=None):
        """Its latest instance is gone."""
        return self.tell(ProcessExited(self.instances[model], "gone"), at)

    def waits(self, at):
        """Time passes."""
        return self.tell(DeadlineReached(), at)

    def unload(self, model=None):
        """Somebody unloads."""
        return self.tell(UnloadRequested(model))

    def shuts_down(self):
        """The service ends."""
        return self.tell(ShutdownRequested())


@dataclass
class Page:
    """What a page says, by the series as it is written in a query."""

    values: dict

    def __getitem__(self, series):
        return self.values[series]

    def __contains__(self, series):
        return series in self.values

    def get(self, series, default=0.0):
        """A value, or what stands for none."""
        return self.values.get(series, default)


def read(metrics):
    """The page, parsed by prometheus-client's own parser."""
    values = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return Page(values)


@pytest.fixture
def page():
    """``page(metrics)["llamaswap_memory_total_bytes"]`` is a value; labels in alphabetical order."""
    return read


@pytest.fixture
def metrics():
    """Metrics of the models a and b."""
    return Metrics(["a", "b"])


@pytest.fixture
def world(metrics):
    """A scheduler of the models a and b, which swap with one another."""
    return World(metrics)


@pytest.fixture
def full(metrics, world):
    """Metrics in which every series has a value."""
    metrics.observe_request("a", "ok", seconds=3.0, queue_seconds=1.0, load_seconds=1.0)
    metrics.observe_answer("a", Usage(5, 7, 1, 2, 1, 100.0, 30.0), first_token_seconds=2.5)
    metrics.observe_heartbeat()
    metrics.observe_host(SAMPLE, [CARD], {"a": ModelMemory(3 * GIB, {0: GIB})})
    world.arrives(1, "a")
    world.ready("a", at=2)
    world.goes(1)
    world.arrives(2, "b")
    world.waits(at=8)  # a does not end in time
    world.exits("a")
    world.never_ready("b")
    world.exits("b")
    world.arrives(3, "a", at=10)
    world.ready("a")
    world.goes(3)
    world.exits("a")
    for request in range(4, 8):  # more than may wait
        world.arrives(request, "b", at=20)
    with_memory(metrics, world)
    return metrics


def with_memory(metrics, world):
    """A model that ran out of memory, was started once more, and whose memory came back after half a second."""
    metrics.observe_need("a", Need(NeedSource.LEARNED, 10 * GIB))
    metrics.observe_read_ahead("a", 5 * GIB, 2.5)
    metrics.observe_out_of_memory("a", loading=True)
    metrics.observe_decision(StartProcess(99, "a", "once more"))
    before = world.scheduler.snapshot(now=world.now)
    instance = replace(before.instances[0], model="a", instance_id=99, claims={"GPU-1": 10 * GIB})
    for phase, since in ((Phase.STOPPING, 30.0), (Phase.RELEASING, 31.0)):
        metrics.observe_snapshot(replace(before, at=31.0, instances=(replace(instance, phase=phase, since=since),)))
    metrics.observe_snapshot(replace(before, at=31.5, instances=()))
    metrics.observe_snapshot(replace(before, at=32.0, instances=(instance,), pools=POOLS))


@pytest.fixture
def sample():
    """One reading of the machine."""
    return SAMPLE


@pytest.fixture
def card():
    """One device."""
    return CARD
