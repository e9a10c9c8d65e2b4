"""The imperative shell: performs what the scheduler decides and tells it what happened.

One inbox, one consumer: whoever tells an event drains the inbox, so a request for a ready model has its lease without
waiting. Nothing here decides; nothing else calls the scheduler. Only the task group of :meth:`run`
spawns tasks.
"""

import asyncio
import itertools
import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from llama_swap.config import Config, PortBook
from llama_swap.errors import Reason, RequestError
from llama_swap.scheduler import commands, events
from llama_swap.scheduler.explain import Explanation
from llama_swap.scheduler.machine import Scheduler
from llama_swap.scheduler.refusals import SOON_SECONDS, shutting_down
from llama_swap.scheduler.snapshot import Snapshot, WaiterView
from llama_swap.scheduler.spec import WhileYielded
from llama_swap.scheduler.story import StoryEntry
from llama_swap.supervisor.doubts import Doubts
from llama_swap.supervisor.errands import Errands
from llama_swap.supervisor.instance import Instance
from llama_swap.supervisor.leasing import Lease
from llama_swap.supervisor.ports import Observer, Senses, StartsProcesses
from llama_swap.supervisor.running import Running
from llama_swap.supervisor.translate import refusal, upstream_timeouts

_ROUTINE_EVENTS = (events.RequestArrived, events.RequestGone)


class Supervisor:
    """Owns the scheduler, the processes and the configuration in force.

    Args:
        environment: what every process inherits; a model's ``env`` is added to it.
        senses: what is known about memory; None knows nothing, and then the groups or the matrix decide.
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
        senses: Senses | None = None,
        beat_seconds: float | None = None,
    ) -> None:
        self.config = config
        self._observer = observer
        self._doubts = Doubts(observer)
        self._beat_seconds = beat_seconds
        self._scheduler = Scheduler(config.scheduler)
        self._inbox: deque[events.Event] = deque()
        self._is_busy = False
        self._request_ids = itertools.count(1)
        self._waiting: dict[int, Lease] = {}
        self._instances: dict[int, Instance] = {}
        self._errands = Errands(
            senses,
            observer,
            self._tell,
            self._instances,
            environment,
            kept_bytes=lambda: self.config.scheduler.kept_free()[0],
        )
        self._running = Running(
            lambda: self.config,
            self._tell,
            launcher=launcher,
            ports=ports,
            observer=observer,
            errands=self._errands,
            environment=environment,
        )
        self._failed: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = math.inf

    # -- the loop -------------------------------------------------------------

    async def run(self, started: asyncio.Event) -> None:
        """Work until cancelled; a bug in the scheduler ends it with that exception.

        Args:
            started: set once requests can be told.
        """
        self._failed = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            self._running.begin(tasks)
            self._errands.begin(tasks)
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
        """Handle an event, and those that come of it, or leave it to whom is doing that already."""
        if self._is_busy:
            self._inbox.append(event)
            return
        self._is_busy = True
        try:
            self._step(event)
            while self._inbox:
                self._step(self._inbox.popleft())
        except Exception as bug:
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(bug)
            raise
        finally:
            self._is_busy = False
        deadline = self._scheduler.next_deadline()
        if deadline is not None and deadline < self._wakes_at:
            self._wake_at(deadline)

    def _step(self, event: events.Event) -> None:
        """The one iteration of the loop: one event in, its commands performed."""
        now = time.monotonic()
        changed = type(event) not in _ROUTINE_EVENTS
        for command in self._scheduler.handle(event, now=now):
            if isinstance(command, commands.GrantLease):
                self._grant(command, now)
            else:
                changed |= self._perform(command, now)
        if changed:
            self._observer.changed(self._scheduler.snapshot(now=now))
            if isinstance(event, events.MemoryMeasured):
                self._doubts.weigh(self.config, event)

    def _wake_at(self, deadline: float) -> None:
        """Wake up for the scheduler's next deadline; an earlier wake-up would only look again, so it is not moved."""
        if self._timer is not None:
            self._timer.cancel()
        # The handle cannot be asked: for a time that has come uvloop gives one that knows none.
        self._wakes_at = deadline
        self._timer = asyncio.get_running_loop().call_at(deadline, self._deadline_reached)

    def _deadline_reached(self) -> None:
        self._timer, self._wakes_at = None, math.inf
        self._tell(events.DeadlineReached())

    # -- performing commands --------------------------------------------------

    def _grant(self, command: commands.GrantLease, now: float) -> None:
        self._observer.decided(command)
        self._waiting.pop(command.request_id).granted(self._instances[command.instance_id], now)

    def _perform(self, command: commands.Command, now: float) -> bool:
        """Carry out any other command; whether that changes who runs."""
        if isinstance(command, commands.Errand):
            self._errands.perform(command, self.config.models)
            return False
        self._observer.decided(command)
        match command:
            case commands.RejectRequest():
                self._waiting.pop(command.request_id).refused(refusal(command))
                return False
            case commands.StartProcess():
                self._running.start(command, now)
            case commands.StopProcess():
                self._running.stop(command)
            case commands.KillProcess():
                self._running.kill(command.instance_id)
        return True

    # -- what the rest of the service asks for --------------------------------

    def new_request_id(self) -> int:
        """An ID for a request that wants to be asked about while it waits."""
        return next(self._request_ids)

    def waiter(self, request_id: int) -> WaiterView | None:
        """Where a request stands in the queue; None when it does not wait (any more)."""
        return next((w for w in self.snapshot().queue if w.request_id == request_id), None)

    def lease(self, model_id: str, request_id: int | None = None, *, terms: events.Terms = events.NO_TERMS) -> Lease:
        """The right to use a ready instance of a model, which is asked for and held while its block lasts."""
        return Lease(self, events.RequestArrived(request_id or next(self._request_ids), model_id, terms))

    def ask(self, lease: Lease) -> None:
        """Tell of a request, which is answered now or later; :meth:`end_lease` follows in any case."""
        self._waiting[lease.arrival.request_id] = lease
        self._tell(lease.arrival)

    def end_lease(self, lease: Lease) -> None:
        """The request is over, whether it was granted a lease, was refused, or does not want an answer any more."""
        request_id = lease.arrival.request_id
        if not lease.granted_at:
            self._waiting.pop(request_id, None)
        self._tell(events.RequestGone(request_id, lease.served))

    async def load(self, model_id: str, *, terms: events.Terms = events.NO_TERMS) -> None:
        """Return when the model is ready; raises RequestError when it cannot start."""
        with self.lease(model_id, terms=terms) as lease:
            await lease.wait_grant()

    def postpone_load(self, model_id: str) -> None:
        """Load a model as soon as that is possible, without anybody waiting for it."""
        self._tell(events.LoadPostponed(model_id))

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

    def refuse_yielded(self) -> None:
        """From now on nobody waits for devices that are left to others: the service ends before they come back."""
        spec = self.config.scheduler
        if spec.yielding.requests is not WhileYielded.REFUSE:
            yielding = replace(spec.yielding, requests=WhileYielded.REFUSE)
            self._tell(events.ConfigChanged(replace(spec, yielding=yielding)))

    def refuse_waiting(self) -> None:
        """Tell everybody who still waits for a model that the service ends; they go as clients that leave."""
        for waiter in self.snapshot().queue:
            text = shutting_down(waiter.model).message
            refused = RequestError(Reason.SHUTTING_DOWN, text, retry_after_seconds=SOON_SECONDS)
            self._waiting[waiter.request_id].refused(refused)

    async def shutdown(self) -> None:
        """Refuse what waits, stop every process and return when all are gone."""
        self._tell(events.ShutdownRequested())
        while self._instances:
            await next(iter(self._instances.values())).gone.wait()

    def snapshot(self) -> Snapshot:
        """What runs, what waits and why."""
        return self._scheduler.snapshot(now=time.monotonic())

    async def wait_measured(self) -> None:
        """Return when the memory in :meth:`snapshot` is that of now, or the driver takes too long to say."""
        await self._errands.wait_measured()

    async def look(self, model_id: str) -> None:
        """Bring up to date what :meth:`explain` goes by where memory may decide."""
        if self.config.scheduler.fit is not None:
            await self._errands.refresh(self.config.models[model_id])

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
