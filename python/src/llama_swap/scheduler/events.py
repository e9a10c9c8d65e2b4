"""What happened: the only input of the scheduler, in the past tense.

Every event is a fact that the shell saw. An instance is one run of a model's process; its ID is never used again,
so an event about a dead instance is recognised and ignored. What every request tells is a tuple: a frozen dataclass
costs three times as much to make.
"""

from dataclasses import dataclass
from typing import NamedTuple

from llama_swap.scheduler.memory import Need, PoolReading
from llama_swap.scheduler.spec import SchedulerSpec


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request brings with it besides the model.

    Attributes:
        caller: whose share of the service it uses: the name of its API key; "" is everybody without one.
        priority: of that caller, added to the model's.
        keep_alive_seconds: how long the model shall stay loaded when idle from this request on; ``inf`` is for ever,
            0 unloads it once nobody uses it; None leaves what holds.
    """

    caller: str = ""
    priority: int = 0
    keep_alive_seconds: float | None = None


NO_TERMS = Terms()


class RequestArrived(NamedTuple):
    """A request for a model wants a lease on a ready instance of it."""

    request_id: int
    model: str
    terms: Terms = NO_TERMS


class RequestGone(NamedTuple):
    """A request ended: answered, failed, or its client left. May be told any number of times.

    Attributes:
        served: the upstream answered it, so its process works (this ends a run of failed starts).
    """

    request_id: int
    served: bool = False


@dataclass(frozen=True, slots=True)
class ProcessReady:
    """The readiness probe of an instance succeeded."""

    instance_id: int


@dataclass(frozen=True, slots=True)
class ReadinessFailed:
    """An instance can never become ready although its process may still run (a foreign listener has its port)."""

    instance_id: int
    detail: str


@dataclass(frozen=True, slots=True)
class ProcessExited:
    """An instance's process and everything it started are gone, or it could not be started at all.

    Attributes:
        detail: why, with the exit code or signal, as a user reads it.
        output_tail: the last lines it wrote, oldest first.
        out_of_memory: it said that memory ran out, in the words of llama.cpp, CUDA or vLLM, or the kernel ended it.
    """

    instance_id: int
    detail: str
    output_tail: tuple[str, ...] = ()
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class UnloadRequested:
    """Somebody asked for a model to be unloaded now, requests in service or not; None: for all of them."""

    model: str | None


@dataclass(frozen=True, slots=True)
class MemoryMeasured:
    """The answer to MeasureMemory; also told unasked at the start.

    Attributes:
        at: when the reading began, in seconds of the scheduler's clock: what exited later may still be in it.
        pools: the host and all devices with memory of their own; only the host where no driver answers.
        has_devices: NVML answered and there is a device, so that memory can decide by itself (``router: auto``).
        problem: why devices are missing or these figures are old; "" is none.
    """

    at: float
    pools: tuple[PoolReading, ...]
    has_devices: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NeedAssessed:
    """The answer to AssessNeed, or news about it; an unknown need is an answer, too."""

    model: str
    fingerprint: str
    need: Need


@dataclass(frozen=True, slots=True)
class PinChanged:
    """Somebody pinned a model at run time, or unpinned it, whatever the configuration says."""

    model: str
    pinned: bool


@dataclass(frozen=True, slots=True)
class LoadPostponed:
    """A model that nobody waits for could not be loaded; it is to be as soon as it can."""

    model: str


@dataclass(frozen=True, slots=True)
class YieldRequested:
    """Somebody wants devices for other programs.

    Attributes:
        holder: who; a second request of the same holder replaces the first.
        devices: UUIDs or numbers; () is all.
        until: seconds of the scheduler's clock; None until it is ended.
        because: for the people that are refused meanwhile.
    """

    holder: str
    devices: tuple[str, ...] = ()
    until: float | None = None
    because: str = ""


@dataclass(frozen=True, slots=True)
class YieldEnded:
    """A holder gives the devices back; None: all of them do."""

    holder: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """A new configuration is in force."""

    spec: SchedulerSpec


@dataclass(frozen=True, slots=True)
class ShutdownRequested:
    """The service ends: refuse what waits, stop every process."""


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """The time that ``next_deadline()`` named has come; carries no facts, it only makes the scheduler look again."""


Event = (
    RequestArrived
    | RequestGone
    | ProcessReady
    | ReadinessFailed
    | ProcessExited
    | UnloadRequested
    | MemoryMeasured
    | NeedAssessed
    | PinChanged
    | LoadPostponed
    | YieldRequested
    | YieldEnded
    | ConfigChanged
    | ShutdownRequested
    | DeadlineReached
)
