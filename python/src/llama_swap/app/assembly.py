"""What one run of the service consists of, and how its parts hear of one another."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from llama_swap import BUILD_COMMIT, BUILD_DATE, __version__
from llama_swap.activity import Captures, InflightTable, Limits, Recorder, Row, Store
from llama_swap.api.browser import machine_names
from llama_swap.api.context import ContextLengths
from llama_swap.api.events import EventFeed, Picture, model_rows
from llama_swap.api.metering import Metering
from llama_swap.api.metrics import count_answer
from llama_swap.api.model_routes import INFER_ROUTES, QUERY_ROUTES
from llama_swap.api.models import describe
from llama_swap.api.peer_servers import PeerServers
from llama_swap.api.site import Observation, ProfileSwitch, Site, Version, counted_models
from llama_swap.app.senses import keep, senses_of
from llama_swap.config import Config, PortBook
from llama_swap.footprint.learned import LearnedStore
from llama_swap.gpu import AllDevices, Amdgpu, DeviceWatch, Nvidia
from llama_swap.logs import LogHub
from llama_swap.metrics import Hardware, HostReader, Metrics, PerformanceRing, Sampler, Sources
from llama_swap.notify import Notifier
from llama_swap.process import Launcher
from llama_swap.process.procfs import children_of
from llama_swap.reporter import Reporter
from llama_swap.supervisor import Supervisor

# Without a watchdog the loop still says that it lives, for the metrics.
_BEAT_SECONDS = 5.0
# The scheduler looks at the devices, too; asking the driver twice in a moment tells nothing new.
_SHARED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Parts:
    """One run of the service, wired together and not started."""

    site: Site
    reporter: Reporter
    sampler: Sampler


@asynccontextmanager
async def assemble(config: Config, *, hub: LogHub, notifier: Notifier, ports: PortBook) -> AsyncIterator[Parts]:
    """Build everything; at the end the processes, the stores and the device reader are closed, in this order."""
    reporter = Reporter(hub, notifier, Metrics(counted_models(config)), configured=len(config.models))
    devices = DeviceWatch(AllDevices(Nvidia(), Amdgpu()))
    store = await Store.open(config.store_path, limits(config))
    figures = await asyncio.to_thread(LearnedStore.open, config.fit_learned_path)
    try:
        async with Launcher.open() as launcher:
            supervisor = Supervisor(
                config,
                launcher=launcher,
                ports=ports,
                observer=reporter,
                environment=os.environ,
                senses=senses_of(config, devices, figures, os.environ),
                beat_seconds=notifier.watchdog_interval_seconds() or _BEAT_SECONDS,
            )
            parts = _connect(supervisor, hub, reporter, devices, store)
            site = parts.site
            async with asyncio.TaskGroup() as tasks:
                learning = site.contexts.run(supervisor.living_instances, site.observation.feed.models_changed)
                task = tasks.create_task(learning, name="context lengths")
                yield parts
                task.cancel()
    finally:
        await asyncio.to_thread(keep, figures)
        await store.close()
        devices.close()


def _connect(supervisor: Supervisor, hub: LogHub, reporter: Reporter, devices: DeviceWatch, store: Store) -> Parts:
    """Let the parts hear of one another."""
    config, metrics = supervisor.config, reporter.metrics
    metering = _metering(supervisor, store)
    switch, contexts = ProfileSwitch(), ContextLengths()
    picture = Picture(
        models=partial(_model_status, supervisor, contexts),
        ui=lambda: {"activity": {"session_id": list(supervisor.config.session_id_headers)}},
        profile=lambda: switch.active,
    )
    feed = EventFeed(hub, metering.table, picture)
    switch.on_change = feed.profile_changed

    def changed() -> None:
        contexts.look()
        feed.models_changed()

    def recorded(row: Row) -> None:
        count_answer(metrics, row)
        feed.recorded(row.id)

    reporter.on_change = changed
    metering.recorder.subscribe(recorded)
    ring = PerformanceRing(sampling_seconds(config))
    shared = partial(devices.read, max_age_seconds=_SHARED_SECONDS)
    sampler = Sampler(Sources(HostReader(), shared, supervisor.pids, _family), metrics, ring)
    site = Site(
        supervisor,
        hub,
        version=Version(__version__, BUILD_COMMIT, BUILD_DATE),
        known_names=machine_names(),
        peers=PeerServers(config.peers),
        store=store,
        metering=metering,
        observation=Observation(metrics, ring, Hardware(__version__, devices.read), feed),
        contexts=contexts,
        profile_switch=switch,
    )
    return Parts(site, reporter, sampler)


def _metering(supervisor: Supervisor, store: Store) -> Metering:
    def secrets() -> tuple[str, ...]:
        return supervisor.config.api_keys

    captures = Captures(supervisor.config.capture_buffer_bytes, secrets)
    return Metering(
        Recorder(store, captures),
        InflightTable(secrets),
        captures,
        post_paths=INFER_ROUTES,
        get_paths=frozenset(QUERY_ROUTES),
    )


def _model_status(supervisor: Supervisor, contexts: ContextLengths) -> Sequence[dict[str, object]]:
    config = supervisor.config

    def entry(model_id: str) -> dict[str, object]:
        model = config.models[model_id]
        return describe(model, context=contexts.known(model), created=0, loaded=False)

    peers = {peer.id: [f"{peer.id}/{name}" for name in peer.models] for peer in config.peers.values()}
    return model_rows(config, supervisor.snapshot(), entry, peers)


def _family(pid: int) -> list[int]:
    """A process and everything below it."""
    found = [pid]
    for parent in found:
        found.extend(children_of(parent))
    return found


def sampling_seconds(config: Config) -> float | None:
    """How often the machine is looked at; None is never."""
    return config.performance_every_seconds if config.performance_enabled else None


def limits(config: Config) -> Limits:
    """How many finished requests are remembered: in a file as asked for, by number without one or while it fails."""
    if config.store_path is None:
        return Limits(max_rows_in_memory=config.metrics_max_in_memory)
    return Limits(config.store_max_rows or None, config.store_max_age_days or None, config.metrics_max_in_memory)


def store_path_changed(store: Store, config: Config) -> bool:
    """Whether a configuration names another file for finished requests, which needs a restart to take effect."""
    return store.path != config.store_path
