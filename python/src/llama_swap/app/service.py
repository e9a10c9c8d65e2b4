"""One run of the service: start, signals, reload, stop."""

import asyncio
import gc
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from aiohttp import web

from llama_swap.api import open_runner
from llama_swap.api.site import Site
from llama_swap.app.assembly import Parts, assemble, limits, sampling_seconds, store_path_changed
from llama_swap.app.options import ServeOptions
from llama_swap.app.senses import needs_restart
from llama_swap.app.sources import Sources
from llama_swap.config import Config, ConfigError
from llama_swap.config.watch import watch_changes
from llama_swap.errors import Reason, RequestError
from llama_swap.listen import address_text, is_local, most_connections
from llama_swap.logs import LogFormat, LogHub, LogSettings, StdoutChoice, set_up_logging
from llama_swap.notify import Notifier
from llama_swap.proxy import front
from llama_swap.supervisor import Supervisor

# llama-swap gives requests in flight 30 s when it is told to stop.
SHUTDOWN_BUDGET_SECONDS = 30.0
_EXTEND_EVERY_SECONDS = 5.0

_NOT_AGAIN = frozenset({Reason.UNLOADED, Reason.SHUTTING_DOWN, Reason.CANCELLED})
"""Why a model was not preloaded that somebody wanted so."""


@dataclass(frozen=True, slots=True)
class Frontage:
    """The listening side of the service."""

    runner: web.AppRunner
    servers: Sequence[asyncio.Server]

    async def close(self, before_cut: Callable[[], None]) -> None:
        """Accept nothing new and return when the requests in flight have ended, or their budget has."""
        await front.close(self.runner, self.servers, budget_seconds=SHUTDOWN_BUDGET_SECONDS, before_cut=before_cut)


class Service:
    """One run of the service, from the bound sockets to the last stopped process."""

    def __init__(
        self,
        options: ServeOptions,
        sources: Sources,
        config: Config,
        listeners: Sequence[socket.socket],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._options = options
        self._sources = sources
        self._listeners = listeners
        self._first = config
        self._tls = tls
        self._notifier = Notifier()
        self._log = structlog.get_logger("service")
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()

    async def main(self) -> int:
        """Start, serve until a signal comes, stop."""
        hub = LogHub()
        self._configure_logging(hub, self._first)
        async with assemble(self._first, hub=hub, notifier=self._notifier, ports=self._sources.ports) as parts:
            await self._run(parts)
        return 0

    async def _run(self, parts: Parts) -> None:
        """The task group: everything in it ends with it, and a bug in any of it ends the service."""
        site, started = parts.site, asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            self._catch_signals()
            background = [tasks.create_task(site.supervisor.run(started), name="supervisor")]
            await started.wait()
            frontage = await self._serve_http(site)
            self._greet(site.config)
            background += [
                tasks.create_task(self._reload_when_asked(parts, tasks), name="reload"),
                tasks.create_task(self._preload(site.supervisor, site.config.preload), name="preload"),
                tasks.create_task(parts.sampler.run(), name="sampler"),
            ]
            if self._options.watch_config:
                background.append(tasks.create_task(self._watch(), name="watch"))
            await self._stop.wait()
            await self._shut_down(tasks, frontage, site)
            for task in background:
                task.cancel()

    async def _serve_http(self, site: Site) -> Frontage:
        runner = await open_runner(site)
        most = most_connections()
        servers = [
            await front.listen(runner, listener, tls=self._tls, max_connections=most) for listener in self._listeners
        ]
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
        _settle()

    async def _preload(self, supervisor: Supervisor, models: Sequence[str]) -> None:
        """Load models of ``hooks.on_startup.preload`` one after another; who cannot be loaded now is when it can."""
        for model_id in models:
            try:
                await supervisor.load(model_id)
            except RequestError as error:
                self._log.error("preload failed", model=model_id, error=error.message)
                if error.reason not in _NOT_AGAIN:
                    supervisor.postpone_load(model_id)

    # -- reload ---------------------------------------------------------------

    async def _watch(self) -> None:
        async for _ in watch_changes(self._sources.files, lambda: self._sources.digest):
            self._log.info("configuration changed on disk")
            self._reload.set()

    async def _reload_when_asked(self, parts: Parts, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            self._notifier.reloading()
            try:
                # Another process reads and checks it; streams go on meanwhile.
                config = await asyncio.to_thread(self._sources.load)
            except (ConfigError, OSError) as error:
                self._log.error("configuration not reloaded, the old one stays in force", problems=str(error))
            else:
                added = [model for model in config.preload if model not in parts.site.config.preload]
                self._put_in_force(parts, config)
                tasks.create_task(self._preload(parts.site.supervisor, added), name="preload")
            self._notifier.ready()

    def _put_in_force(self, parts: Parts, config: Config) -> None:
        site = parts.site
        removed = site.config.models.keys() - config.models.keys()
        self._configure_logging(site.hub, config)
        if store_path_changed(site.store, config):
            self._log.warning("store.path changed, which needs a restart", path=str(config.store_path))
        for key in needs_restart(site.config, config):
            self._log.warning("a key changed, which needs a restart", key=key)
        parts.reporter.configured = len(config.models)
        site.supervisor.apply(config)
        site.configured()
        site.store.limits = limits(config)
        parts.sampler.configure(sampling_seconds(config))
        self._sources.ports.forget(removed)
        self._log.info("configuration reloaded", models=len(config.models))

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
        site.observation.feed.close()
        site.supervisor.refuse_yielded()
        await frontage.close(site.supervisor.refuse_waiting)
        await site.supervisor.shutdown()
        extending.cancel()
        self._log.info("stopped")

    async def _extend_timeout(self) -> None:
        """Ask the service manager for more time while requests and models end."""
        while True:
            self._notifier.extend_timeout(_EXTEND_EVERY_SECONDS * 2)
            await asyncio.sleep(_EXTEND_EVERY_SECONDS)


def _settle() -> None:
    """Let the garbage collector leave alone what the start has made, a quarter of a million objects that stay.

    Going through them again and again took 10 % of the time under load, and 30 ms at once in which no stream went on.
    What requests make they also let go of without the collector, so it need not look after every 700 new objects:
    another 12 % of the time, and no byte more memory.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()
