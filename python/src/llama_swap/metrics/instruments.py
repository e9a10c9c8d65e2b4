"""The series that count what happens: their names, labels, units, buckets and meaning."""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from llama_swap.metrics.tally import Distribution, Tally

if TYPE_CHECKING:
    from prometheus_client.core import Metric

PREFIX = "llamaswap"
_WAITS = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_ANSWERS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_STOPS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60)
_RELEASES = (0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30)
_SPEEDS = (1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000)


class Instruments:
    """Every counter and histogram of the service.

    Each has the label ``model`` first: the ID of a configured model, or "" for a name that stands for none.
    """

    def __init__(self) -> None:
        self.requests = _tally("requests", "Requests that name a model, by how they ended", "outcome")
        self.rejections = _tally("rejections", "Requests that the scheduler refused, by reason", "reason")
        self.tokens = _tally("tokens", "Tokens that upstreams reported, by kind", "kind")
        self.starts = _tally("starts", "Processes that were started")
        self.start_failures = _tally("start_failures", "Processes that never became ready")
        self.swaps = _tally("swaps", "Starts for which another model had to leave")
        self.evictions = _tally("evictions", "Stops to make room, by what the model did before", "reason")
        self.stops = _tally("stops", "Processes that were asked to end, by cause", "reason")
        self.kills = _tally("kills", "Processes that did not end in time and were killed")
        self.crashes = _tally("crashes", "Ready processes that ended without being asked to")
        self.out_of_memory = _tally("out_of_memory", "Processes that ended because memory ran out", "while")
        self.retries = _tally("start_retries", "Starts once more after memory ran out while loading")
        self.needs = _tally("needs", "Times it was found out what a model needs, by where from", "source")
        self.read_ahead_bytes = _tally("read_ahead_bytes", "Bytes of files that were read before their model started")
        self.read_ahead_seconds = _tally("read_ahead_seconds", "Time that this reading took")
        self.request_duration = _distribution(
            "request_duration_seconds", "Time from arrival to the last byte of the answer", _ANSWERS
        )
        self.queue_wait = _distribution("queue_wait_seconds", "Time a request waited for other models to leave", _WAITS)
        self.load_wait = _distribution("load_wait_seconds", "Time a request waited for its model to load", _WAITS)
        self.first_token = _distribution(
            "time_to_first_token_seconds", "Time from arrival to the first byte of a streamed answer", _ANSWERS
        )
        self.prompt_speed = _distribution(
            "prompt_tokens_per_second", "Speed of prompt processing, as upstreams reported it", _SPEEDS
        )
        self.generation_speed = _distribution(
            "generated_tokens_per_second", "Speed of generation, as upstreams reported it", _SPEEDS
        )
        self.load = _distribution("load_seconds", "Time from the start of a process to ready", _WAITS)
        self.stop = _distribution("stop_seconds", "Time from asking a process to end to its exit", _STOPS)
        self.release = _distribution(
            "memory_release_seconds", "Time from the exit of a process until its device memory was free", _RELEASES
        )

        self._all = [value for value in vars(self).values() if isinstance(value, Tally | Distribution)]

    def keep(self, models: Collection[str]) -> None:
        """Forget all other models."""
        for instrument in self._all:
            instrument.keep(models)

    def families(self) -> "Iterator[Metric]":
        """What all of them have counted."""
        for instrument in self._all:
            yield instrument.family()


def _tally(name: str, meaning: str, label: str = "") -> Tally:
    return Tally(f"{PREFIX}_{name}", meaning, label)


def _distribution(name: str, meaning: str, bounds: Sequence[float]) -> Distribution:
    return Distribution(f"{PREFIX}_{name}", meaning, bounds)
