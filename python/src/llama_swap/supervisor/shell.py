"""The imperative shell: performs what the scheduler decides and tells it what happened.

One inbox, one consumer: whoever tells an event drains the inbox, so a request for a ready model has its lease before
``acquire`` first awaits. Nothing here decides; nothing else calls the scheduler. Only the task group of :meth:`run`
spawns tasks.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from llama_swap.config import Config, PortBook, port_is_free
from llama_swap.process import LaunchFailed, NotReady
from llama_swap.proxy.upstream import Upstream
from llama_swap.scheduler import commands, events
from llama_swap.scheduler.explain import Explanation
from llama_swap.scheduler.machine import Scheduler
from llama_swap.scheduler.snapshot import Snapshot, WaiterView
from llama_swap.scheduler.story import StoryEntry
from llama_swap.supervisor.instance import Instance, Lease
from llama_swap.supervisor.ports import Observer, RunningProcess, StartsProcesses
from llama_swap.supervisor.translate import launch_spec, local_port, refusal, upstream_timeouts


class Supervisor:
    """Owns the scheduler, the processes and the configuration in force.

    Args:
        environment: what every process inherits; a model's ``env`` is added to it.
        beat_seconds: how often to report life to the service manager; None is never.
    """

    def __init__(  # noqa: PLR0913 - everything it works with, given once by the composition root
        self,
        config: Config,
        *,
        launcher: StartsProcesses,
        ports: PortBook,
        observer: Observer,
        environment: Mapping[str, str],
        beat_seconds: float | None = None,
    ) -> None:
        self.config = config
        self._launcher = launcher
        self._ports = ports
        self._observer = observer
        self._environment = dict(environment)
        self._beat_seconds = beat_seconds
        self._scheduler = Scheduler(config.scheduler)
        self._inbox: deque[events.Event] = deque()
        self._draining_inbox = False
        self._request_ids = itertools.count(1)
        self._waiting: dict[int, tuple[float, asyncio.Future[Lease]]] = {}
        self._instances: dict[int, Instance] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._failed: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- the loop -------------------------------------------------------------

    async def run(self, started: asyncio.Event) -> None:
        """Work until cancelled; a bug in the scheduler ends it with that exception.

        Args:
            started: set once requests can be told.
        """
        self._failed = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._observer.changed(self.snapshot())
            started.set()
            while True:
                self._observer.beat()
                await self._wait_failure_or_beat()

    async def _wait_failure_or_beat(self) -> None:
        assert self._failed is not None  # noqa: S101 - set by run(), the only caller
        try:
            await asyncio.wait_for(asyncio.shield(self._failed), self._beat_seconds)
        except TimeoutError:
            return

    def _tell(self, event: events.Event) -> None:
        """Put an event into the inbox and, unless that is already happening, drain it."""
        self._inbox.append(event)
        if self._draining_inbox:
            return
        self._draining_inbox = True
        try:
            while self._inbox:
                self._step(self._inbox.popleft())
        except Exception as bug:
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(bug)
            raise
        finally:
            self._draining_inbox = False
        self._arm_timer()

    def _step(self, event: events.Event) -> None:
        """The one iteration of the loop: one event in, its commands performed."""
        now = time.monotonic()
        changed = not isinstance(event, events.RequestArrived | events.RequestGone)
        for command in self._scheduler.handle(event, now=now):
            if isinstance(command, commands.Decision):
                self._observer.decided(command)
                changed |= not isinstance(command, commands.GrantLease | commands.RejectRequest)
            self._perform(command, now)
        if changed:
            self._observer.changed(self._scheduler.snapshot(now=now))

    def _arm_timer(self) -> None:
        """Wake up for the scheduler's next deadline; an earlier wake-up only looks again."""
        deadline = self._scheduler.next_deadline()
        if deadline is None:
            return
        if self._timer is not None and not self._timer.cancelled():
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._deadline_reached)

    def _deadline_reached(self) -> None:
        self._timer = None
        self._tell(events.DeadlineReached())

    # -- performing commands --------------------------------------------------

    def _perform(self, command: commands.Command, now: float) -> None:
        match command:
            case commands.GrantLease():
                arrived_at, future = self._waiting.pop(command.request_id)
                if not future.done():
                    lease = Lease(command.request_id, self._instances[command.instance_id], arrived_at, now)
                    future.set_result(lease)
            case commands.RejectRequest():
                _, future = self._waiting.pop(command.request_id)
                if not future.done():
                    future.set_exception(refusal(command))
            case commands.StartProcess():
                self._start(command, now)
            case commands.StopProcess():
                self._stop(self._instances[command.instance_id])
            case commands.KillProcess():
                self._kill(self._instances[command.instance_id])

    def _start(self, command: commands.StartProcess, now: float) -> None:
        assert self._tasks is not None  # noqa: S101 - events are told only after run() has started
        instance = Instance(command.instance_id, self.config.models[command.model], started_at=now)
        self._instances[command.instance_id] = instance
        self._tasks.create_task(self._run_instance(instance), name=f"instance {command.instance_id}")

    def _prepare(self, instance: Instance) -> None:
        """Find the model a port that is free now, and say where its upstream will be.

        Raises:
            LookupError: no port is free.
        """
        model = instance.model
        if model.port is not None:
            port = self._ports.claim(model.id, self.config.start_port)
            if port != model.port:
                instance.model = model = self.config.rebind(model.id, port)
        elif (taken := local_port(model.proxy)) is not None and not port_is_free(taken):
            text = f"somebody listens on port {taken} of its proxy already; requests may reach that process"
            self._observer.noticed(model.id, text)
        instance.upstream = Upstream(model.proxy, upstream_timeouts(model))

    def _stop(self, instance: Instance) -> None:
        instance.stop_asked = True
        if instance.process is None:
            return
        try:
            instance.process.terminate()
        except OSError:
            # No descriptor or process to spare for the polite way.
            instance.process.kill()

    def _kill(self, instance: Instance) -> None:
        instance.kill_asked = True
        if instance.process is not None:
            instance.process.kill()

    async def _run_instance(self, instance: Instance) -> None:
        """The whole life of one instance; ends in exactly one ProcessExited."""
        detail, tail = "", tuple[str, ...]()
        try:
            self._prepare(instance)
            detail, tail = await self._launch_and_wait(instance)
        except (LaunchFailed, LookupError, OSError) as failure:
            detail = str(failure)
        finally:
            if instance.upstream is not None:
                instance.upstream.close()
            del self._instances[instance.instance_id]
            instance.gone.set()
        self._tell(events.ProcessExited(instance.instance_id, detail, tail))

    async def _launch_and_wait(self, instance: Instance) -> tuple[str, tuple[str, ...]]:
        assert self._tasks is not None  # noqa: S101 - events are told only after run() has started

        def on_output(stream: str, line: bytes) -> None:
            self._observer.output(instance.model.id, stream, line)

        process = await self._launcher.launch(launch_spec(instance.model, self._environment), on_output=on_output)
        instance.process = process
        if instance.stop_asked:
            process.terminate()
        if instance.kill_asked:
            process.kill()
        readiness = self._tasks.create_task(self._watch_readiness(instance, process))
        try:
            report = await process.wait_exit()
        finally:
            readiness.cancel()
        return report.detail, report.output_tail

    async def _watch_readiness(self, instance: Instance, process: RunningProcess) -> None:
        """Ends in one ProcessReady or ReadinessFailed, or is cancelled by the end of the process."""
        try:
            await process.wait_ready()
        except NotReady as failure:
            self._tell(events.ReadinessFailed(instance.instance_id, str(failure)))
        else:
            instance.ready_at = time.monotonic()
            self._tell(events.ProcessReady(instance.instance_id))

    # -- what the rest of the service asks for --------------------------------

    def new_request_id(self) -> int:
        """An ID for a request that wants to be asked about while it waits."""
        return next(self._request_ids)

    def waiter(self, request_id: int) -> WaiterView | None:
        """Where a request stands in the queue; None when it does not wait (any more)."""
        return next((w for w in self.snapshot().queue if w.request_id == request_id), None)

    @asynccontextmanager
    async def lease(
        self, model_id: str, request_id: int | None = None, *, terms: events.Terms = events.NO_TERMS
    ) -> AsyncIterator[Lease]:
        """Hold a lease on a ready instance of a model; raises RequestError when the scheduler refuses."""
        request_id = request_id or self.new_request_id()
        future: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = (time.monotonic(), future)
        lease: Lease | None = None
        try:
            self._tell(events.RequestArrived(request_id, model_id, terms))
            lease = await future
            yield lease
        finally:
            self._waiting.pop(request_id, None)
            self._tell(events.RequestGone(request_id, served=lease is not None and lease.served))

    async def load(self, model_id: str, *, terms: events.Terms = events.NO_TERMS) -> None:
        """Return when the model is ready; raises RequestError when it cannot start."""
        async with self.lease(model_id, terms=terms):
            return

    def pin(self, model_id: str) -> None:
        """Keep a model loaded once it is, whatever the configuration says."""
        self._tell(events.PinChanged(model_id, pinned=True))

    def unpin(self, model_id: str) -> None:
        """Let a model be evicted and unloaded again, whatever the configuration says."""
        self._tell(events.PinChanged(model_id, pinned=False))

    def request_yield(
        self, holder: str, *, devices: tuple[str, ...] = (), seconds: float | None = None, because: str = ""
    ) -> None:
        """Leave devices to other programs.

        Args:
            holder: who asks; a second request of the same holder replaces the first.
            devices: UUIDs or numbers; () is all.
            seconds: for how long; None until it is ended.
            because: for the people that are refused meanwhile.
        """
        until = None if seconds is None else time.monotonic() + seconds
        self._tell(events.YieldRequested(holder, devices, until, because))

    def end_yield(self, holder: str | None = None) -> None:
        """Take the devices back from a holder; None: from all."""
        self._tell(events.YieldEnded(holder))

    async def unload(self, model_id: str | None = None) -> None:
        """Stop a model, or all of them, and return when their processes are gone."""
        leaving = [i for i in self._instances.values() if model_id in (None, i.model.id)]
        self._tell(events.UnloadRequested(model_id))
        for instance in leaving:
            await instance.gone.wait()

    def apply(self, config: Config) -> None:
        """Put a new configuration in force: unchanged models keep running with their requests."""
        self.config = config
        for instance in self._instances.values():
            model = config.models.get(instance.model.id)
            if model is not None and instance.upstream is not None:
                instance.upstream.timeouts = upstream_timeouts(model)
        self._tell(events.ConfigChanged(config.scheduler))

    async def shutdown(self) -> None:
        """Refuse what waits, stop every process and return when all are gone."""
        self._tell(events.ShutdownRequested())
        while self._instances:
            await next(iter(self._instances.values())).gone.wait()

    def snapshot(self) -> Snapshot:
        """What runs, what waits and why."""
        return self._scheduler.snapshot(now=time.monotonic())

    def explain(self, model_id: str) -> Explanation:
        """What a request for a model would lead to, without doing it."""
        return self._scheduler.explain(model_id, now=time.monotonic())

    def story(self, model_id: str) -> list[StoryEntry]:
        """The last events and decisions about a model, oldest first."""
        return self._scheduler.story(model_id)

    def living_instances(self) -> tuple[Instance, ...]:
        """Every instance whose process is not gone."""
        return tuple(self._instances.values())

    def pids(self) -> dict[str, int]:
        """The process ID of every model that runs."""
        return {i.model.id: i.process.pid for i in self._instances.values() if i.process is not None}

    def instance_of(self, model_id: str) -> Instance | None:
        """The living instance of a model, whatever its phase."""
        return next((i for i in self._instances.values() if i.model.id == model_id), None)
