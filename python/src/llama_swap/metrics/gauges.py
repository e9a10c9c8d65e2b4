"""The series that describe a moment: made from frozen snapshots when they are asked for.

Because nothing is stored in between, what is gone (a model, a device, an interface) has no series any more.
Names and labels of the host and the devices are llama-swap's (v250, internal/perf/prometheus.go).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from llama_swap.metrics.host import HostSample
from llama_swap.metrics.moment import Moment
from llama_swap.metrics.performance import memory_percent
from llama_swap.metrics.views import DeviceView, ModelMemory
from llama_swap.scheduler.snapshot import PoolView, Snapshot, Standing

_LOAD_INTERVALS = ("1m", "5m", "15m")
_DEVICE_LABELS = ("id", "name", "uuid")


def gauges(moment: Moment) -> Iterator[Metric]:
    """All series of a moment."""
    if moment.snapshot is not None:
        yield from _scheduler(moment.snapshot)
    if moment.heartbeat_age_seconds is not None:
        yield _gauge(
            "llamaswap_scheduler_heartbeat_age_seconds",
            "Time since the supervisor's loop last reported life",
            [((), moment.heartbeat_age_seconds)],
        )
    yield from _memory(moment.memory)
    if moment.host is not None:
        yield from _host(moment.host)
    yield from _devices(moment.devices)


def _gauge(
    name: str, meaning: str, values: Iterable[tuple[Sequence[str], float]], labels: Sequence[str] = ()
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _scheduler(snapshot: Snapshot) -> Iterator[Metric]:
    models = snapshot.models
    states = {
        (view.model, standing.value): float(view.standing is standing) for view in models for standing in Standing
    }
    leases = {view.model: view.leases for view in snapshot.instances}
    serving = {(view.model,): float(leases.get(view.model, 0)) for view in models}
    waiting = {(view.model,): float(view.waiting) for view in models}
    oldest = max((waiter.waited_seconds for waiter in snapshot.queue), default=0.0)
    yield _gauge(
        "llamaswap_instance_state",
        "1 for the state that a model is in, else 0",
        states.items(),
        labels=("model", "state"),
    )
    yield _gauge("llamaswap_requests_in_service", "Requests that hold a lease", serving.items(), labels=("model",))
    yield _gauge("llamaswap_queue_length", "Requests that wait for a lease", waiting.items(), labels=("model",))
    yield _gauge(
        "llamaswap_oldest_waiter_age_seconds",
        "Time that the oldest waiting request has waited; 0 is none",
        [((), oldest)],
    )
    yield _gauge("llamaswap_yields", "Demands to leave devices to others", [((), float(len(snapshot.yields)))])
    yield from _pools(snapshot)


def _pools(snapshot: Snapshot) -> Iterator[Metric]:
    """The memory that models are given, as the scheduler sees it; nothing before the first reading."""
    names = {view.pool: _pool_name(view) for view in snapshot.pools}
    for name, meaning, values in (
        ("total", "Memory of a pool: of a device, or of the machine", [v.total_bytes for v in snapshot.pools]),
        ("free", "What the driver or the kernel would give out", [v.free_bytes for v in snapshot.pools]),
        ("promised", "What models hold or may still take", [v.promised_bytes for v in snapshot.pools]),
        ("available", "What one more model could get", [v.available_bytes for v in snapshot.pools]),
        ("foreign", "What other programs use", [v.foreign_bytes for v in snapshot.pools]),
    ):
        known = [((label,), float(v)) for label, v in zip(names.values(), values, strict=True) if v is not None]
        if known:
            yield _gauge(f"llamaswap_pool_{name}_bytes", meaning, known, labels=("pool",))
    claims = {
        (view.model, names[pool]): float(size)
        for view in snapshot.instances
        for pool, size in view.claims.items()
        if pool in names
    }
    if claims:
        meaning = "What a model holds or may still take of a pool"
        yield _gauge("llamaswap_model_claim_bytes", meaning, claims.items(), labels=("model", "pool"))


def _pool_name(view: PoolView) -> str:
    """``host``, or the number that a device has in the other series."""
    return view.pool if view.index is None else str(view.index)


def _memory(memory: Mapping[str, ModelMemory]) -> Iterator[Metric]:
    if not memory:
        return
    resident = {(model,): float(use.resident_bytes) for model, use in memory.items()}
    devices = {
        (model, str(index)): float(used) for model, use in memory.items() for index, used in use.device_bytes.items()
    }
    yield _gauge(
        "llamaswap_model_memory_resident_bytes",
        "RAM of a model's processes, with the mapped pages of its file",
        resident.items(),
        labels=("model",),
    )
    if devices:
        yield _gauge(
            "llamaswap_model_gpu_memory_bytes",
            "Device memory of a model's processes, by device",
            devices.items(),
            labels=("model", "id"),
        )


def _host(sample: HostSample) -> Iterator[Metric]:
    cores = {(str(core),): percent for core, percent in enumerate(sample.cpu_percent)}
    yield _gauge("llamaswap_cpu_util_percent", "CPU utilisation per core, 0 to 100", cores.items(), labels=("core",))
    for name, meaning, value in (
        ("memory_total", "Memory of the machine", sample.total_bytes),
        ("memory_used", "Memory in use, without the file cache", sample.used_bytes),
        ("memory_free", "Unused memory", sample.free_bytes),
        ("swap_total", "Swap space", sample.swap_total_bytes),
        ("swap_used", "Swap space in use", sample.swap_used_bytes),
    ):
        yield _gauge(f"llamaswap_{name}_bytes", meaning, [((), float(value))])
    loads = {(interval,): value for interval, value in zip(_LOAD_INTERVALS, sample.load, strict=True)}
    yield _gauge("llamaswap_load_average", "Load average", loads.items(), labels=("interval",))
    if sample.network:
        network = CounterMetricFamily(
            "llamaswap_network_bytes", "Bytes over a network interface", labels=("interface", "direction")
        )
        for count in sample.network:
            network.add_metric((count.interface, "recv"), count.received_bytes)
            network.add_metric((count.interface, "sent"), count.sent_bytes)
        yield network


def _devices(devices: Collection[DeviceView]) -> Iterator[Metric]:
    """A figure that a device does not tell has no sample: 0 would be a lie."""
    readings: tuple[tuple[str, str, Callable[[DeviceView], float | None]], ...] = (
        ("temperature_celsius", "Temperature of the device", lambda device: device.temperature_celsius),
        ("vram_temperature_celsius", "Temperature of its memory", lambda device: device.memory_temperature_celsius),
        ("util_percent", "Utilisation of the device, 0 to 100", lambda device: device.utilisation_percent),
        ("memory_util_percent", "Used share of its memory, 0 to 100", memory_percent),
        ("memory_used_bytes", "Device memory in use", lambda device: device.used_bytes),
        ("memory_total_bytes", "Device memory", lambda device: device.total_bytes),
        ("fan_speed_percent", "Speed of its fan, 0 to 100", lambda device: device.fan_percent),
        ("power_draw_watts", "Power it draws", lambda device: device.power_watts),
    )
    for name, meaning, read in readings:
        values = {
            (str(device.index), device.name, device.uuid): float(value)
            for device in devices
            if (value := read(device)) is not None
        }
        if values:
            yield _gauge(f"llamaswap_gpu_{name}", meaning, values.items(), labels=_DEVICE_LABELS)
