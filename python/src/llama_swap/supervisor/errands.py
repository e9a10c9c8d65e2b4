"""Finds out about memory what the scheduler wants to know, and prepares what it will need.

Every errand ends in the event that answers it, whatever fails; reading ahead ends in none. Nothing here has a rhythm
of its own: the scheduler's deadlines say when to look.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping

from llama_swap.config import Model
from llama_swap.scheduler import commands, events
from llama_swap.scheduler.memory import UNKNOWN_NEED, Need
from llama_swap.supervisor.instance import Instance
from llama_swap.supervisor.learning import Learning, Run
from llama_swap.supervisor.memory import measured, room_of
from llama_swap.supervisor.ports import Examined, Observer, Senses
from llama_swap.supervisor.translate import model_facts

_LIMIT_SECONDS = 15.0
"""For one reading: the driver's own limit, and engines of containers that do not answer."""
_SHOWN_SECONDS = 1.0
"""Figures that began so long ago are shown as they are, and nobody who looks waits longer for newer ones."""


class Errands:
    """Performs errands in the supervisor's task group.

    Args:
        senses: None on a machine of which nothing is to be known: then the answers are that it is unknown.
        tell: takes the events.
        instances: the living ones by ID.
        environment: what every process inherits.
        kept_bytes: what is to stay free of each device now.
    """

    def __init__(  # noqa: PLR0913 - what it looks at, given once by the supervisor
        self,
        senses: Senses | None,
        observer: Observer,
        tell: Callable[[events.Event], None],
        instances: dict[int, Instance],
        environment: Mapping[str, str],
        *,
        kept_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._senses = senses
        self._observer = observer
        self._tell = tell
        self.instances = instances
        self._environment = environment
        self._kept_bytes = kept_bytes
        self._learning = None if senses is None else Learning(senses.figures)
        self._needs: dict[str, Need] = {}
        self._latest = events.MemoryMeasured(float("-inf"), ())
        self._has_devices = False
        self._glance: asyncio.Task[None] | None = None
        self._read_ahead_for: str | None = None
        self._wanted_ahead: set[str] = set()
        self._is_saving = False
        self._has_unsaved = False
        self._tasks: asyncio.TaskGroup | None = None

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Work in this task group from now on, and tell what there is."""
        self._tasks = tasks
        if self._senses is not None:
            self.measure()

    def perform(self, errand: commands.Errand, models: Mapping[str, Model]) -> None:
        """Set out; the answer comes later.

        Args:
            errand: what to do.
            models: as configured now.
        """
        match errand:
            case commands.MeasureMemory():
                self.measure()
            case commands.AssessNeed():
                self._set_out(self._assess(errand, models.get(errand.model)), f"assess {errand.model}")
            case commands.ReadAhead() if errand.model in models:
                self._wanted_ahead.add(errand.model)
                self._set_out(self._bring_in(models[errand.model]), f"read ahead {errand.model}")
            case commands.StopReadingAhead():
                self._stop_reading(errand.model)

    def measure(self) -> None:
        """Find out what is free and who has what; ends in MemoryMeasured."""
        self._set_out(self._measure(), "measure memory")

    async def look(self, at_most_seconds: float) -> None:
        """Measure now, and wait for it, but not for longer than this; the reading then goes on."""
        if self._senses is not None:
            assert self._tasks is not None  # noqa: S101 - begin() is called before the first event
            await asyncio.wait({self._tasks.create_task(self._measure(), name="look")}, timeout=at_most_seconds)

    async def wait_measured(self) -> None:
        """Return when there is a reading of now, or the driver takes too long; all who look at once share one."""
        if self._senses is None or time.monotonic() - self._latest.at < _SHOWN_SECONDS:
            return
        if self._glance is None or self._glance.done():
            assert self._tasks is not None  # noqa: S101 - begin() is called before the first event
            self._glance = self._tasks.create_task(self._measure(), name="glance")
        await asyncio.wait({self._glance}, timeout=_SHOWN_SECONDS)

    async def refresh(self, model: Model) -> None:
        """Bring up to date what a decision about a model goes by: the memory, and what it needs unless it runs."""
        await self._measure()  # or the end of its last run could come after the assessment, and make it old
        if not any(instance.model.id == model.id for instance in self.instances.values()):
            await self._assess(commands.AssessNeed(model.id, model.fingerprint, "somebody asks"), model)
            await self._measure()

    def _set_out(self, work: Coroutine[None, None, None], name: str) -> None:
        assert self._tasks is not None  # noqa: S101 - begin() is called before the first event
        self._tasks.create_task(work, name=name)

    # -- what becomes of instances ---------------------------------------------

    def started(self, instance: Instance) -> None:
        """An instance is about to be launched."""
        if self._learning is None:
            return
        model = instance.model
        run = Run(instance.started_at, self._needs.get(model.id), was_read_ahead=self._read_ahead_for == model.id)
        self._learning.started(instance.instance_id, run, instance.devices)
        self._set_out(self._identify(run, model), f"identify {model.id}")

    def is_ready(self, instance: Instance) -> None:
        """An instance is ready: its file is read, and its figures can be taken."""
        if self._learning is None:
            return
        self._stop_reading(instance.model.id)
        self._learning.is_ready(instance.instance_id, instance.ready_at or time.monotonic())
        if not self._has_devices:  # where there are any, the scheduler asks by itself
            self.measure()

    def ended(self, instance: Instance, *, out_of_memory: bool) -> None:
        """An instance is gone."""
        if self._learning is None:
            return
        self._stop_reading(instance.model.id)
        said_so = instance.memory_words_at is not None and instance.model.devices != ()
        self._learning.ended(instance.instance_id, out_of_memory=out_of_memory, said_so=said_so)
        self._save()
        if out_of_memory:
            self._observer.ran_out_of_memory(instance.model.id, loading=instance.ready_at is None)

    def _stop_reading(self, model_id: str) -> None:
        self._wanted_ahead.discard(model_id)
        if self._senses is not None and self._read_ahead_for == model_id:
            self._read_ahead_for = None
            self._senses.ahead.cancel()

    # -- the errands -----------------------------------------------------------

    async def _measure(self) -> None:
        at = time.monotonic()
        if self._senses is None:
            self._tell(events.MemoryMeasured(at, (), problem="memory is not measured"))
            return
        holders = {i.instance_id: i.process for i in self.instances.values() if i.process is not None}
        try:
            async with asyncio.timeout(_LIMIT_SECONDS):
                reading = await self._senses.memory.read(holders)
            has_news = self._learning is not None and self._learning.seen(reading)
            event = measured(reading, self._senses.sees, self._learning.hidden if self._learning else ())
        except Exception as error:  # noqa: BLE001 - no figure about memory is worth the end of the service
            self._tell(events.MemoryMeasured(at, (), problem=f"memory could not be measured: {error!r}"))
            return
        self._has_devices = bool(reading.devices)
        self._latest = event
        if has_news:
            self._save()
        self._tell(event)

    async def _assess(self, errand: commands.AssessNeed, model: Model | None) -> None:
        need = UNKNOWN_NEED
        if self._senses is not None and model is not None:
            facts = model_facts(model, self._environment, self._kept_bytes())
            try:
                need = await self._senses.needs.assess(facts, most_bytes=room_of(self._latest, facts.devices))
            except Exception as error:  # noqa: BLE001 - as above: an unknown need is an answer, too
                self._observer.noticed(model.id, f"what it needs could not be found out: {error!r}")
        self._needs[errand.model] = need
        self._observer.assessed(errand.model, need)
        self._tell(events.NeedAssessed(errand.model, errand.fingerprint, need))

    async def _bring_in(self, model: Model) -> None:
        examined = await self._examine(model)
        if self._senses is None or examined is None or not examined.files or model.id not in self._wanted_ahead:
            return
        self._read_ahead_for = model.id
        read = await self._senses.ahead.read(examined.files)
        self._observer.read_ahead(model.id, read.bytes_read, read.seconds)

    async def _identify(self, run: Run, model: Model) -> None:
        examined = await self._examine(model)
        run.identity = None if examined is None else examined.identity

    async def _examine(self, model: Model) -> Examined | None:
        if self._senses is None:
            return None
        try:
            return await self._senses.needs.examine(model_facts(model, self._environment, self._kept_bytes()))
        except Exception as error:  # noqa: BLE001 - as above
            self._observer.noticed(model.id, f"its files could not be looked at: {error!r}")
            return None

    # -- keeping ---------------------------------------------------------------

    def _save(self) -> None:
        """Write what was learned, in a thread; what comes while that goes on is written after it."""
        self._has_unsaved = True
        if not self._is_saving:
            self._is_saving = True
            self._set_out(self._keep(), "keep figures")

    async def _keep(self) -> None:
        try:
            while self._has_unsaved and self._senses is not None:
                self._has_unsaved = False
                await asyncio.to_thread(self._senses.figures.save)
        except OSError as error:
            self._observer.noticed("", f"what was learned about models could not be kept: {error}")
        finally:
            self._is_saving = False
