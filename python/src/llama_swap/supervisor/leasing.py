"""The right of a request to use an instance: how it is got, and given back."""

import asyncio
import time
from types import TracebackType
from typing import Protocol, Self

from llama_swap.errors import RequestError
from llama_swap.proxy.upstream import Upstream
from llama_swap.scheduler.events import RequestArrived
from llama_swap.supervisor.instance import Instance


class GrantsLeases(Protocol):
    """The part of the supervisor that is needed here."""

    def ask(self, lease: "Lease") -> None:
        """Tell of a request: it is granted or refused now or later, unless :meth:`end_lease` comes first."""
        ...

    def end_lease(self, lease: "Lease") -> None:
        """The request is over, whether it was granted a lease, was refused, or does not want an answer any more."""
        ...


class Lease:
    """The right to use an instance, held from the entry of its block until the exit; :meth:`Supervisor.lease` makes it.

    A context manager without a generator: each request has one, and this takes half the time. A ready model grants it
    while it is asked, so within the block ``granted_at`` tells whether there is anything to wait for.

    Attributes:
        arrival: what is asked for.
        served: set by the holder once the upstream answered.
        arrived_at: when it was asked for, monotonic seconds.
        instance: what may be used.
        granted_at: since when, monotonic seconds; 0 before.
        load_seconds: how much of the wait was the model's own start.
        queue_seconds: how much of the wait was for other models to leave.
    """

    __slots__ = (
        "_answer",
        "_refusal",
        "_supervisor",
        "arrival",
        "arrived_at",
        "granted_at",
        "instance",
        "load_seconds",
        "queue_seconds",
        "served",
    )

    arrived_at: float
    instance: Instance
    load_seconds: float
    queue_seconds: float

    def __init__(self, supervisor: GrantsLeases, arrival: RequestArrived) -> None:
        self.arrival = arrival
        self.granted_at = 0.0
        self.served = False
        self._supervisor = supervisor
        self._refusal: RequestError | None = None
        self._answer: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        self.arrived_at = time.monotonic()
        try:
            self._supervisor.ask(self)
        except BaseException:
            self._supervisor.end_lease(self)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._supervisor.end_lease(self)

    @property
    def upstream(self) -> Upstream:
        """The HTTP server to use."""
        assert self.instance.upstream is not None  # noqa: S101 - there is one long before an instance is ready
        return self.instance.upstream

    def granted(self, instance: Instance, now: float) -> None:
        """The request may use an instance."""
        self.instance, self.granted_at = instance, now
        arrived_at, loading, ready_at = self.arrived_at, 0.0, instance.ready_at or now
        if ready_at > arrived_at:  # hardly ever
            loading = max(0.0, min(ready_at, now) - max(instance.started_at, arrived_at))
        self.load_seconds, self.queue_seconds = loading, now - arrived_at - loading
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def refused(self, refusal: RequestError) -> None:
        """The request gets an error."""
        self._refusal = refusal
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    async def wait_grant(self) -> None:
        """Return once the request may use the instance; raises RequestError where it is refused."""
        if not self.granted_at and self._refusal is None:
            self._answer = asyncio.get_running_loop().create_future()
            await self._answer
        if not self.granted_at:
            assert self._refusal is not None  # noqa: S101 - it is the one or the other
            raise self._refusal
