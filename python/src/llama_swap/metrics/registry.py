"""All metrics of the service: told what happens, gives the page that Prometheus reads."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from llama_swap.metrics.host import HostSample
from llama_swap.metrics.instruments import Instruments
from llama_swap.metrics.lifecycle import Lifecycle
from llama_swap.metrics.moment import Moment
from llama_swap.metrics.traffic import Traffic
from llama_swap.metrics.views import DeviceView, ModelMemory, UsageView
from llama_swap.scheduler.commands import Decision, GrantLease, RejectRequest
from llama_swap.scheduler.memory import Need
from llama_swap.scheduler.snapshot import Snapshot

if TYPE_CHECKING:
    from llama_swap.metrics.page import Page

_NO_MODEL = ""
_NO_MEMORY: Mapping[str, ModelMemory] = MappingProxyType({})


class Metrics:
    """Belongs to the event loop; only :meth:`render` may run elsewhere.

    Args:
        models: the IDs that may become a label; see :meth:`keep_models`.
        clock: monotonic seconds.
    """

    def __init__(self, models: Collection[str] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._instruments = Instruments()
        self._lifecycle = Lifecycle(self._instruments, self._label)
        self._traffic = Traffic(self._instruments, self._label)
        self._models = frozenset(models)
        self._moment = Moment()
        self._heartbeat_at: float | None = None
        self._page: Page | None = None

    # -- what happens ---------------------------------------------------------

    def keep_models(self, models: Collection[str]) -> None:
        """Only these IDs are labels from now on (after a reload); series of others are dropped.

        Args:
            models: IDs of models, and names of peers' models where those are counted too.
        """
        self._traffic.add_up()
        self._models = frozenset(models)
        self._instruments.keep(self._models | {_NO_MODEL})

    def observe_request(
        self,
        model: str,
        outcome: str,
        *,
        seconds: float,
        queue_seconds: float | None = None,
        load_seconds: float | None = None,
    ) -> None:
        """Count a request that named a model.

        Args:
            model: the configured ID; anything else counts under "".
            outcome: one of a few words, as in the request log.
            seconds: from arrival to the last byte.
            queue_seconds: waiting for other models; None when it never got a lease, as for the next.
            load_seconds: waiting for its own model.
        """
        self._traffic.request((model, outcome, seconds, queue_seconds, load_seconds))

    def observe_answer(self, model: str, usage: UsageView, *, first_token_seconds: float | None = None) -> None:
        """Count what an upstream said about an answer.

        Args:
            model: the configured ID.
            usage: what is not positive is not counted.
            first_token_seconds: from arrival to the first byte of the body; None for an answer that is not streamed.
        """
        self._traffic.answer((model, usage, first_token_seconds))

    def observe_decision(self, command: Decision) -> None:
        """Count a decision of the scheduler; grants are counted by their requests."""
        if isinstance(command, GrantLease):
            return
        if isinstance(command, RejectRequest):
            self._instruments.rejections.add(self._label(command.model), command.reason.value)
        else:
            self._lifecycle.decided(command)

    def observe_snapshot(self, snapshot: Snapshot) -> None:
        """Take note of the state: after every change, and before :meth:`render` for waits that are true."""
        self._lifecycle.seen(snapshot)
        self._moment = replace(self._moment, snapshot=snapshot)

    def observe_need(self, model: str, need: Need) -> None:
        """Count how it is known what a model needs."""
        self._instruments.needs.add(self._label(model), need.source.value)

    def observe_read_ahead(self, model: str, bytes_read: int, seconds: float) -> None:
        """Count what was brought into memory before a start."""
        label = self._label(model)
        self._instruments.read_ahead_bytes.add(label, amount=bytes_read)
        self._instruments.read_ahead_seconds.add(label, amount=seconds)

    def observe_out_of_memory(self, model: str, *, loading: bool) -> None:
        """Count the end of a process for want of memory."""
        self._lifecycle.ran_out_of_memory(model, loading=loading)

    def observe_heartbeat(self) -> None:
        """The supervisor's loop is alive."""
        self._heartbeat_at = self._clock()

    def observe_host(
        self,
        host: HostSample | None,
        devices: Collection[DeviceView] = (),
        memory: Mapping[str, ModelMemory] = _NO_MEMORY,
    ) -> None:
        """The latest sample of the machine, the devices and the memory of models; None when there are no more."""
        self._moment = replace(self._moment, host=host, devices=devices, memory=memory)

    # -- the page -------------------------------------------------------------

    def render(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4; may be called in a thread, as it takes milliseconds."""
        from llama_swap.metrics.page import Page  # noqa: PLC0415 - see there

        self._traffic.add_up()
        if self._page is None:
            self._page = Page(self._instruments, self._moment_now)
        return self._page.text()

    def _moment_now(self) -> Moment:
        moment, beat = self._moment, self._heartbeat_at
        return moment if beat is None else replace(moment, heartbeat_age_seconds=max(0.0, self._clock() - beat))

    def _label(self, model: str) -> str:
        """Names that clients make up must not become series."""
        return model if model in self._models else _NO_MODEL
