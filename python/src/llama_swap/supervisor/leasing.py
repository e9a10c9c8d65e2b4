"""How a request holds its lease."""

import asyncio
import time
from types import TracebackType
from typing import Protocol

from llama_swap.errors import RequestError
from llama_swap.scheduler.events import Terms
from llama_swap.supervisor.instance import Instance, Lease


class GrantsLeases(Protocol):
    """The part of the supervisor that is needed here."""

    def ask(self, leasing: "Leasing") -> None:
        """Tell of a request: it is granted or refused now or later, unless :meth:`leave` comes first."""
        ...

    def leave(self, request_id: int) -> None:
        """The request does not want an answer any more, or was refused."""
        ...

    def end_lease(self, request_id: int, *, served: bool) -> None:
        """The request that was granted a lease is over."""
        ...


class Leasing:
    """Holds a lease while it lasts; what :meth:`Supervisor.lease` gives.

    A context manager without a generator: each request has one, and this takes half the time. It waits only if it has
    to, because a ready model grants the lease while it is asked.
    """

    __slots__ = ("_answer", "_arrived_at", "_lease", "_refusal", "_supervisor", "model_id", "request_id", "terms")

    def __init__(self, supervisor: GrantsLeases, request_id: int, model_id: str, terms: Terms) -> None:
        self.request_id = request_id
        self.model_id = model_id
        self.terms = terms
        self._supervisor = supervisor
        self._lease: Lease | None = None
        self._refusal: RequestError | None = None
        self._answer: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Lease:
        self._arrived_at = time.monotonic()
        try:
            self._supervisor.ask(self)
            return self._lease or await self._wait_answer()
        except BaseException:
            self._supervisor.leave(self.request_id)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._lease is not None  # noqa: S101 - entered
        self._supervisor.end_lease(self.request_id, served=self._lease.served)

    def granted(self, instance: Instance, now: float) -> None:
        """The request may use an instance."""
        self._lease = Lease(self.request_id, instance, self._arrived_at, now)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def refused(self, refusal: RequestError) -> None:
        """The request gets an error."""
        self._refusal = refusal
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    async def _wait_answer(self) -> Lease:
        if self._refusal is None:
            self._answer = asyncio.get_running_loop().create_future()
            await self._answer
        if self._lease is None:
            assert self._refusal is not None  # noqa: S101 - it is the one or the other
            raise self._refusal
        return self._lease
