"""What requests add: gathered as it comes, and added up when it is much or somebody looks.

To gather is an append. Adding up many at a time is sorting and summing in C, which takes a fraction of what as many
single observations would.
"""

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import TypeVar

from llama_swap.metrics.instruments import Instruments
from llama_swap.metrics.views import UsageView

# It takes a tenth of a millisecond, in which nobody is served.
_MOST_GATHERED = 100
_KINDS = ("prompt", "cached", "generated", "drafted", "accepted")
_counts_and_speeds = attrgetter(
    "input_tokens",
    "cache_tokens",
    "output_tokens",
    "draft_tokens",
    "draft_acc_tokens",
    "prompt_per_second",
    "tokens_per_second",
)

Request = tuple[str, str, float, float | None, float | None]
"""Model, outcome, seconds in all, in the queue and for the load."""
Answer = tuple[str, UsageView, float | None]
"""Model, what the upstream said, and seconds to the first token."""
_T = TypeVar("_T", Request, Answer)


class Traffic:
    """Told by the event loop; added up there, or in the thread that writes the page.

    Args:
        instruments: where to.
        label: the model's label for an ID.
    """

    def __init__(self, instruments: Instruments, label: Callable[[str], str]) -> None:
        self._instruments = instruments
        self._label = label
        self._requests: deque[Request] = deque()
        self._answers: deque[Answer] = deque()
        self._lock = threading.Lock()

    def request(self, request: Request) -> None:
        """Note a finished request."""
        self._requests.append(request)
        if len(self._requests) >= _MOST_GATHERED:
            self.add_up()

    def answer(self, answer: Answer) -> None:
        """Note an answer."""
        self._answers.append(answer)
        if len(self._answers) >= _MOST_GATHERED:
            self.add_up()

    def add_up(self) -> None:
        """Put everything that was noted into the instruments."""
        with self._lock:
            for model, requests in _by_model(self._requests).items():
                self._add_requests(self._label(model), requests)
            for model, answers in _by_model(self._answers).items():
                self._add_answers(self._label(model), answers)

    def _add_requests(self, model: str, requests: Iterable[Request]) -> None:
        instruments = self._instruments
        _, outcomes, seconds, queued, loading = zip(*requests, strict=True)
        for outcome, count in Counter(outcomes).items():
            instruments.requests.add(model, outcome, amount=count)
        instruments.request_duration.observe_all(model, seconds)
        instruments.queue_wait.observe_all(model, _known(queued))
        instruments.load_wait.observe_all(model, _known(loading))

    def _add_answers(self, model: str, answers: Iterable[Answer]) -> None:
        instruments = self._instruments
        _, usages, first_tokens = zip(*answers, strict=True)
        *counts, prompt_speeds, speeds = zip(*map(_counts_and_speeds, usages), strict=True)
        for kind, column in zip(_KINDS, counts, strict=True):
            if amount := sum(_positive(column)):
                instruments.tokens.add(model, kind, amount=amount)
        instruments.prompt_speed.observe_all(model, _positive(prompt_speeds))
        instruments.generation_speed.observe_all(model, _positive(speeds))
        instruments.first_token.observe_all(model, _known(first_tokens))


def _by_model(gathered: deque[_T]) -> dict[str, list[_T]]:
    found = defaultdict(list)
    # No more than there were: the loop may go on adding to them.
    for _ in range(len(gathered)):
        each = gathered.popleft()
        found[each[0]].append(each)
    return found


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _positive(values: Sequence[float]) -> Sequence[float]:
    """Mostly all of them are, or none is."""
    if max(values) <= 0:
        return ()
    return values if min(values) > 0 else [value for value in values if value > 0]
