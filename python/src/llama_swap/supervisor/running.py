"""The life of instances: a port, a process, readiness, the stop, the end. Decides nothing."""

import asyncio
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from llama_swap.config import Config, PortBook, port_is_free
from llama_swap.dial import local_port
from llama_swap.footprint.out_of_memory import says_out_of_memory
from llama_swap.process import ExitReport, LaunchFailed, NotReady
from llama_swap.proxy.upstream import Upstream
from llama_swap.scheduler import commands, events
from llama_swap.supervisor.errands import Errands
from llama_swap.supervisor.instance import Instance
from llama_swap.supervisor.ports import Observer, RunningProcess, StartsProcesses
from llama_swap.supervisor.translate import environment_of, launch_spec, upstream_timeouts

_LOOK_SECONDS = 0.5
"""A reading takes some ten milliseconds."""


class Running:
    """Every instance whose process is not gone.

    Args:
        config: the one in force.
        tell: takes the events.
        environment: what every process inherits; a model's ``env`` is added to it.

    Attributes:
        instances: by their ID, oldest first.
    """

    def __init__(  # noqa: PLR0913 - everything it works with, given once by the supervisor
        self,
        config: Callable[[], Config],
        tell: Callable[[events.Event], None],
        *,
        launcher: StartsProcesses,
        ports: PortBook,
        observer: Observer,
        errands: Errands,
        environment: Mapping[str, str],
    ) -> None:
        self.instances: dict[int, Instance] = errands.instances
        self._config = config
        self._tell = tell
        self._launcher = launcher
        self._ports = ports
        self._observer = observer
        self._errands = errands
        self._environment = environment
        self._tasks: asyncio.TaskGroup | None = None

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Work in this task group from now on."""
        self._tasks = tasks

    def start(self, command: commands.StartProcess, now: float) -> None:
        """Begin the life of an instance; it ends in exactly one ProcessExited."""
        assert self._tasks is not None  # noqa: S101 - begin() is called before the first event
        model = self._config().models[command.model]
        instance = Instance(command.instance_id, model, started_at=now, devices=command.devices)
        self.instances[command.instance_id] = instance
        self._tasks.create_task(self._live(instance), name=f"instance {command.instance_id}")

    def stop(self, command: commands.StopProcess) -> None:
        """Ask an instance to end."""
        instance = self.instances[command.instance_id]
        instance.stop_asked = True
        instance.yielded_because = command.because if command.cause is commands.StopCause.YIELDED else ""
        if instance.process is None:
            return
        if command.look_first:
            assert self._tasks is not None  # noqa: S101 - begin() is called before the first event
            self._tasks.create_task(self._stop_seen(instance), name=f"stop instance {instance.instance_id}")
        else:
            _terminate(instance.process)

    async def _stop_seen(self, instance: Instance) -> None:
        """Measure what it holds, and ask it to end then; a driver that is slow does not keep it."""
        await self._errands.look(_LOOK_SECONDS)
        if instance.process is not None and not instance.kill_asked and not instance.gone.is_set():
            _terminate(instance.process)

    def kill(self, instance_id: int) -> None:
        """End an instance at once."""
        instance = self.instances[instance_id]
        instance.kill_asked = True
        if instance.process is not None:
            instance.process.kill()

    # -- one life ---------------------------------------------------------------

    async def _live(self, instance: Instance) -> None:
        """The whole life of one instance; ends in exactly one ProcessExited."""
        detail, tail = "", tuple[str, ...]()
        try:
            await self._prepare(instance)
            self._errands.started(instance)
            report = await self._launch_and_wait(instance)
            detail, tail = report.detail, report.output_tail
            instance.ran_out_of_memory = instance.died_of_memory(report, time.monotonic())
        except (LaunchFailed, LookupError, OSError) as failure:
            detail = str(failure)
        finally:
            if instance.upstream is not None:
                instance.upstream.close()
            del self.instances[instance.instance_id]
            instance.gone.set()
        short = instance.ran_out_of_memory
        self._errands.ended(instance, out_of_memory=short)
        self._tell(events.ProcessExited(instance.instance_id, detail, tail, out_of_memory=short))

    async def _prepare(self, instance: Instance) -> None:
        """Find the model a port that is free now, and say where its upstream will be.

        Raises:
            LookupError: no port is free.
            OSError: the model cannot be rendered with another port.
        """
        model, config = instance.model, self._config()
        if model.port is not None:
            port = self._ports.claim(model.id, config.start_port)
            if port != model.port:
                instance.model = model = await asyncio.to_thread(config.rebind, model.id, port)
        elif (taken := local_port(urlsplit(model.proxy))) is not None and not port_is_free(taken):
            text = f"somebody listens on port {taken} of its proxy already; requests may reach that process"
            self._observer.noticed(model.id, text)
        instance.upstream = Upstream(model.proxy, upstream_timeouts(model))

    async def _launch_and_wait(self, instance: Instance) -> ExitReport:
        assert self._tasks is not None  # noqa: S101 - begin() is called before the first event

        def on_output(stream: str, line: bytes) -> None:
            if says_out_of_memory(line):
                instance.memory_words_at = time.monotonic()
            self._observer.output(instance.model.id, stream, line)

        kept_bytes, _ = self._config().scheduler.kept_free()
        env = environment_of(instance.model, self._environment, kept_bytes)
        spec = launch_spec(instance.model, env, instance.devices)
        process = await self._launcher.launch(spec, on_output=on_output)
        instance.process = process
        if instance.stop_asked:
            process.terminate()
        if instance.kill_asked:
            process.kill()
        readiness = self._tasks.create_task(self._watch_readiness(instance, process))
        try:
            return await process.wait_exit()
        finally:
            readiness.cancel()

    async def _watch_readiness(self, instance: Instance, process: RunningProcess) -> None:
        """Ends in one ProcessReady or ReadinessFailed, or is cancelled by the end of the process."""
        try:
            await process.wait_ready()
        except NotReady as failure:
            self._tell(events.ReadinessFailed(instance.instance_id, str(failure)))
        else:
            instance.ready_at = time.monotonic()
            self._errands.is_ready(instance)
            self._tell(events.ProcessReady(instance.instance_id))


def _terminate(process: RunningProcess) -> None:
    try:
        process.terminate()
    except OSError:
        # No descriptor or process to spare for the polite way.
        process.kill()
