"""One run of a model's process."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from llama_swap.config import Model
from llama_swap.errors import Reason, RequestError
from llama_swap.process import ExitReport
from llama_swap.proxy.upstream import Upstream
from llama_swap.supervisor.ports import RunningProcess

_MEMORY_RAN_OUT = "it ran out of memory and ended; its next start gets more, if there is more"
_DYING_SECONDS = 0.5
"""From a broken connection to the end of the process that broke it it takes milliseconds."""
_LATER_SECONDS = 60.0
"""When to try again where a device was taken away; nobody here knows for how long."""
_LAST_WORDS_SECONDS = 10.0
"""From the words of a process that memory ran out to its end; a crash may write gigabytes of a core file meanwhile."""


@dataclass(slots=True, eq=False)
class Instance:
    """One run of a model's process: what the scheduler's instance ID stands for in this process.

    Attributes:
        devices: the pools of the only devices it may see; () leaves that to it.
        memory_words_at: when it last wrote that memory ran out.
        yielded_because: why it was stopped for other programs on its device; "" where it was not.
        ran_out_of_memory: that is why it ended; true at the latest when ``gone`` is set.
    """

    instance_id: int
    model: Model
    started_at: float
    devices: tuple[str, ...] = ()
    upstream: Upstream | None = None
    process: RunningProcess | None = None
    ready_at: float | None = None
    stop_asked: bool = False
    kill_asked: bool = False
    memory_words_at: float | None = None
    yielded_because: str = ""
    ran_out_of_memory: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def why_cut(self) -> tuple[str, str]:
        """Why its connections broke, once it is gone, and the code of that error; "" where nothing is known."""
        if self.yielded_because:
            return f"it was stopped while it served this request: {self.yielded_because}", "devices_yielded"
        with suppress(TimeoutError):
            await asyncio.wait_for(self.gone.wait(), _DYING_SECONDS)
        return (_MEMORY_RAN_OUT, "out_of_memory") if self.ran_out_of_memory else ("", "")

    async def blame(self, error: RequestError) -> None:
        """Raise a clearer error where its connection broke because memory ran out, or was wanted by others."""
        if error.reason is not Reason.UPSTREAM_FAILED:
            return
        why, _ = await self.why_cut()
        if why:
            reason = Reason.YIELDED if self.yielded_because else Reason.OUT_OF_MEMORY
            later = _LATER_SECONDS if self.yielded_because else None
            raise RequestError(reason, f"model {self.model.id!r}: {why}", retry_after_seconds=later) from error

    def died_of_memory(self, report: ExitReport, now: float) -> bool:
        """Whether it ended by itself because memory ran out: the kernel ended it, or it said so shortly before.

        One that serves may say so and go on (vLLM refuses that one request), so old words explain nothing.
        """
        if self.stop_asked or self.kill_asked:
            return False
        if self.memory_words_at is None:
            return report.out_of_memory
        return report.out_of_memory or self.ready_at is None or now - self.memory_words_at <= _LAST_WORDS_SECONDS
