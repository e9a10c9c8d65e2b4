"""What happened: the only input of the scheduler, in the past tense.

Every event is a fact that the shell saw. An instance is one run of a model's process; its ID is never used again,
so an event about a dead instance is recognised and ignored.
"""

from dataclasses import dataclass

from llama_swap.scheduler.spec import SchedulerSpec


@dataclass(frozen=True, slots=True)
class RequestArrived:
    """A request for a model wants a lease on a ready instance of it."""

    request_id: int
    model: str


@dataclass(frozen=True, slots=True)
class RequestGone:
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
    """

    instance_id: int
    detail: str
    output_tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnloadRequested:
    """Somebody asked for a model to be unloaded now, requests in service or not; None: for all of them."""

    model: str | None


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
    | ConfigChanged
    | ShutdownRequested
    | DeadlineReached
)
