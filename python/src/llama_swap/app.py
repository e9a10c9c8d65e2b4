"""The composition root: configuration -> objects -> task group -> signals -> service manager.

The only place that builds things. Start-up and shutdown are nested contexts: what is opened last is closed first.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiohttp import web

from llama_swap import BUILD_COMMIT, BUILD_DATE, __version__
from llama_swap.activity import Captures, InflightTable, Limits, Recorder, Store
from llama_swap.api import build_application
from llama_swap.api.browser import machine_names
from llama_swap.api.metering import Metering
from llama_swap.api.openai import FORM_ROUTES, JSON_ROUTES, QUERY_ROUTES
from llama_swap.api.peer_servers import PeerServers
from llama_swap.api.site import Site, Version
from llama_swap.config import Config, ConfigError, PortBook, config_sources, load_config
from llama_swap.config.watch import content_digest, watch_changes
from llama_swap.errors import RequestError
from llama_swap.listen import address_text, bind, is_local
from llama_swap.logs import LogFormat, LogHub, LogSettings, StdoutChoice, set_up_logging
from llama_swap.notify import Notifier, listen_sockets
from llama_swap.process import Launcher
from llama_swap.proxy import front
from llama_swap.reporter import Reporter
from llama_swap.supervisor import Supervisor

# llama-swap gives requests in flight 30 s when it is told to stop.
SHUTDOWN_BUDGET_SECONDS = 30.0
_EXTEND_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The command line of the service.

    Attributes:
        listen: ``host:port``; an empty host is every interface.
        log_format: auto, human, json or logfmt.
        config_error_status: exit status for a configuration that cannot be used.
    """

    config: Path | None
    config_dir: Path | None
    listen: str
    watch_config: bool = False
    log_format: str = "auto"
    config_error_status: int = 1


class Sources:
    """Where the configuration is read from; remembers the ports that models have been given."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self.ports = PortBook()
        self.digest = ""

    def files(self) -> tuple[Path, ...]:
        """The files as they are now; none while the directory is missing."""
        try:
            return config_sources(self._options.config, self._options.config_dir)
        except ConfigError:
            return ()

    def load(self) -> Config:
        """Read and check everything; raises ConfigError."""
        sources = config_sources(self._options.config, self._options.config_dir)
        self.digest = content_digest(sources)
        return load_config(sources, env=os.environ, ports=self.ports)


@dataclass(frozen=True, slots=True)
class Frontage:
    """The listening side of the service."""

    runner: web.AppRunner
    servers: Sequence[asyncio.Server]

    async def close(self) -> None:
        """Accept nothing new and return when the requests in flight have ended, or their budget has."""
        for server in self.servers:
            server.close()
        await self.runner.cleanup()


class Service:
    """One run of the service, from the bound sockets to the last stopped process."""

    def __init__(
        self, options: ServeOptions, sources: Sources, config: Config, listeners: Sequence[socket.socket]
    ) -> None:
        self._options = options
        self._sources = sources
        self._listeners = listeners
        self._first = config
        self._notifier = Notifier()
        self._log = structlog.get_logger("service")
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()

    async def main(self) -> int:
        """Start, serve until a signal comes, stop."""
        hub = LogHub()
        self._configure_logging(hub, self._first)
        reporter = Reporter(hub, self._notifier, configured=len(self._first.models))
        async with Launcher.open() as launcher:
            supervisor = Supervisor(
                self._first,
                launcher=launcher,
                ports=self._sources.ports,
                observer=reporter,
                environment=os.environ,
                beat_seconds=self._notifier.watchdog_interval_seconds(),
            )
            site = await self._build_site(supervisor, hub)
            try:
                await self._run(site, reporter)
            finally:
                await site.store.close()
        return 0

    async def _build_site(self, supervisor: Supervisor, hub: LogHub) -> Site:
        config = supervisor.config

        def secrets() -> tuple[str, ...]:
            return supervisor.config.api_keys

        store = await Store.open(config.store_path, _limits(config))
        captures = Captures(config.capture_buffer_bytes, secrets)
        metering = Metering(
            Recorder(store, captures),
            InflightTable(secrets),
            captures,
            post_paths=frozenset((*JSON_ROUTES, *FORM_ROUTES)),
            get_paths=frozenset(QUERY_ROUTES),
        )
        return Site(
            supervisor,
            hub,
            version=own_version(),
            known_names=machine_names(),
            peers=PeerServers(config.peers),
            store=store,
            metering=metering,
        )

    async def _run(self, site: Site, reporter: Reporter) -> None:
        """The task group: everything in it ends with it, and a bug in any of it ends the service."""
        started = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(site.supervisor.run(started), name="supervisor")]
            await started.wait()
            frontage = await self._serve_http(site)
            self._catch_signals()
            self._greet(site.config)
            background += [
                tasks.create_task(self._reload_when_asked(site, reporter), name="reload"),
                tasks.create_task(self._preload(site.supervisor), name="preload"),
            ]
            if self._options.watch_config:
                background.append(tasks.create_task(self._watch(), name="watch"))
            await self._stop.wait()
            await self._shut_down(tasks, frontage, site)
            for task in background:
                task.cancel()

    async def _serve_http(self, site: Site) -> Frontage:
        runner = front.make_runner(build_application(site), shutdown_timeout=SHUTDOWN_BUDGET_SECONDS)
        await runner.setup()
        servers = [await front.listen(runner, listener) for listener in self._listeners]
        return Frontage(runner, servers)

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)

    def _greet(self, config: Config) -> None:
        """Say where we listen; READY only now that requests are accepted."""
        for listener in self._listeners:
            address = address_text(listener)
            self._log.info("listening", address=address, models=len(config.models))
            if not config.api_keys and not is_local(listener):
                risk = "anybody who reaches this address can use, start and stop every model"
                self._log.warning("no apiKeys on an open address", address=address, risk=risk)
        self._notifier.ready()

    async def _preload(self, supervisor: Supervisor) -> None:
        """Load the models of ``hooks.on_startup.preload`` one after another."""
        for model_id in supervisor.config.preload:
            try:
                await supervisor.load(model_id)
            except RequestError as error:
                self._log.error("preload failed", model=model_id, error=error.message)

    # -- reload ---------------------------------------------------------------

    async def _watch(self) -> None:
        async for _ in watch_changes(self._sources.files, lambda: self._sources.digest):
            self._log.info("configuration changed on disk")
            self._reload.set()

    async def _reload_when_asked(self, site: Site, reporter: Reporter) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            self._notifier.reloading()
            try:
                # Reading and checking takes tens of milliseconds; streams go on meanwhile.
                config = await asyncio.to_thread(self._sources.load)
            except ConfigError as error:
                self._log.error("configuration not reloaded, the old one stays in force", problems=str(error))
            else:
                self._configure_logging(site.hub, config)
                site.hub.keep_models(set(config.models))
                reporter.configured = len(config.models)
                removed = site.config.models.keys() - config.models.keys()
                site.supervisor.apply(config)
                site.configured()
                site.store.limits = _limits(config)
                self._sources.ports.forget(removed)
                self._log.info("configuration reloaded", models=len(config.models))
            self._notifier.ready()

    def _configure_logging(self, hub: LogHub, config: Config) -> None:
        settings = LogSettings(
            level=config.log_level,
            time_format=config.log_time_format,
            to_stdout=StdoutChoice(config.log_to_stdout),
            format=LogFormat(self._options.log_format),
        )
        set_up_logging(hub, settings)
        for warning in config.warnings:
            self._log.warning("configuration", problem=str(warning))

    # -- the end --------------------------------------------------------------

    async def _shut_down(self, tasks: asyncio.TaskGroup, frontage: Frontage, site: Site) -> None:
        """No new connections, requests in flight finish within the budget, then the models stop."""
        self._log.info("stopping")
        self._notifier.stopping()
        extending = tasks.create_task(self._extend_timeout(), name="extend timeout")
        site.hub.close()
        await frontage.close()
        await site.supervisor.shutdown()
        extending.cancel()
        self._log.info("stopped")

    async def _extend_timeout(self) -> None:
        """Ask the service manager for more time while requests and models end."""
        while True:
            self._notifier.extend_timeout(_EXTEND_EVERY_SECONDS * 2)
            await asyncio.sleep(_EXTEND_EVERY_SECONDS)


def _limits(config: Config) -> Limits:
    """How many finished requests are remembered: by number in memory, as asked for in a file."""
    if config.store_path is None:
        return Limits(config.metrics_max_in_memory)
    return Limits(config.store_max_rows or None, config.store_max_age_days or None)


def own_version() -> Version:
    """The version of the installed package."""
    return Version(__version__, BUILD_COMMIT, BUILD_DATE)


def serve(options: ServeOptions) -> int:
    """Run the service until it is told to stop; returns the exit status."""
    sources = Sources(options)
    try:
        config = sources.load()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return options.config_error_status
    try:
        listeners = listen_sockets() or bind(options.listen)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot listen on {options.listen}: {error}\n")
        return 1
    service = Service(options, sources, config, listeners)
    return front.run(service.main)
