"""What to do: the only output of the scheduler, in the imperative. Every command says why."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class RejectReason(StrEnum):
    """Why a waiting request is refused; each value is also a :class:`llama_swap.errors.Reason`."""

    MODEL_UNKNOWN = "model_unknown"
    CONCURRENCY_LIMIT = "concurrency_limit"
    QUEUE_FULL = "queue_full"
    QUEUE_TIMEOUT = "queue_timeout"
    START_FAILED = "start_failed"
    BACKING_OFF = "backing_off"
    UNLOADED = "unloaded"
    SHUTTING_DOWN = "shutting_down"
    DOES_NOT_FIT = "does_not_fit"
    MEMORY_UNKNOWN = "memory_unknown"
    PINNED = "pinned"
    YIELDED = "yielded"
    OUT_OF_MEMORY = "out_of_memory"


class StopCause(StrEnum):
    """Why an instance is stopped, as a word to count by; ``because`` says it in full."""

    EVICTED = "evicted"
    IDLE = "idle"
    UNLOADED = "unloaded"
    CONFIG_CHANGED = "config_changed"
    START_FAILED = "start_failed"
    SHUTDOWN = "shutdown"
    YIELDED = "yielded"


@dataclass(frozen=True, slots=True)
class StartProcess:
    """Launch a model's process; answered by ProcessReady, ReadinessFailed or ProcessExited.

    Attributes:
        devices: the UUIDs of the only ones it may see (CUDA_VISIBLE_DEVICES); () leaves it to the process.
    """

    instance_id: int
    model: str
    because: str
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StopProcess:
    """Ask an instance to end (``cmdStop`` or SIGTERM); answered by ProcessExited.

    Attributes:
        needed_by: the model that gets the place of an evicted one, else "".
        look_first: it was used since the memory was read last, so what it holds now, the most it ever will, is to be
            learned before it goes.
    """

    instance_id: int
    model: str
    because: str
    cause: StopCause = StopCause.UNLOADED
    needed_by: str = ""
    look_first: bool = False


@dataclass(frozen=True, slots=True)
class KillProcess:
    """The grace period of a stopping instance is over: SIGKILL; answered by ProcessExited."""

    instance_id: int
    model: str
    because: str


class GrantLease(NamedTuple):
    """Let a request use an instance; the lease lasts until its RequestGone. A tuple, because every request gets one."""

    request_id: int
    instance_id: int
    model: str

    @property
    def because(self) -> str:
        """The only reason there is."""
        return f"{self.model} is ready"


@dataclass(frozen=True, slots=True)
class RejectRequest:
    """Answer a waiting request with an error.

    Attributes:
        message: for the client: what happened, to which model, position or next try where that helps.
        retry_after_seconds: when trying again may help, else None.
    """

    request_id: int
    model: str
    reason: RejectReason
    message: str
    because: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class MeasureMemory:
    """Read all pools; answered by MemoryMeasured, always and once."""

    because: str


@dataclass(frozen=True, slots=True)
class AssessNeed:
    """Find out what a model will need; answered by NeedAssessed, always and once."""

    model: str
    fingerprint: str
    because: str


@dataclass(frozen=True, slots=True)
class ReadAhead:
    """Read a model's file into the page cache: it starts once others have left; nothing answers this."""

    model: str
    because: str


@dataclass(frozen=True, slots=True)
class StopReadingAhead:
    """Nobody waits for the model any more whose file is read ahead; nothing answers this."""

    model: str
    because: str


Decision = StartProcess | StopProcess | KillProcess | GrantLease | RejectRequest
"""What changes who runs and who is served."""

Errand = MeasureMemory | AssessNeed | ReadAhead | StopReadingAhead
"""What the scheduler needs to know, or wants prepared, before it decides."""

Command = Decision | Errand
