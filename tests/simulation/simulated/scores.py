"""What came of a day, as figures that can be compared."""

from collections import Counter
from dataclasses import dataclass, field


def percentile(values, share):
    """The value that this share of them does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def jain(values):
    """Jain's index of fairness: 1 is even, 1/n is one bearing all; 1 where nobody bears anything."""
    squares = sum(value**2 for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


@dataclass
class Scores:
    """The figures of one run.

    Attributes:
        waits: kind of client -> seconds from arrival to lease of each request that was served.
        caller_waits: the same by API key.
        refused: reason -> requests that were refused by the scheduler.
        failed: requests that lost their model while it served them, or whose model could not start.
        lost: requests whose client had no patience left.
        game_waits: for each game the seconds until it had all its memory.
        out_of_memory: processes that died of it.
        loading_seconds: from start to ready, over all starts.
        seconds: from the first request to the end.
    """

    waits: dict = field(default_factory=dict)
    caller_waits: dict = field(default_factory=dict)
    refused: Counter = field(default_factory=Counter)
    failed: int = 0
    lost: int = 0
    starts: Counter = field(default_factory=Counter)
    game_waits: list = field(default_factory=list)
    out_of_memory: int = 0
    loading_seconds: float = 0.0
    seconds: float = 0.0
    events: int = 0

    def served(self, kind, caller, wait):
        """A request got its lease."""
        self.waits.setdefault(kind, []).append(wait)
        self.caller_waits.setdefault(caller, []).append(wait)

    def all_waits(self):
        """Waits of all requests."""
        return [wait for waits in self.waits.values() for wait in waits]

    def percentile(self, share, kind=None):
        """The wait that this share of the requests did not exceed; of one kind of client, or of all."""
        return percentile(self.all_waits() if kind is None else self.waits.get(kind, ()), share)

    @property
    def worst(self):
        """The longest wait."""
        return max(self.all_waits(), default=0.0)

    @property
    def start_count(self):
        """Loads of all models."""
        return self.starts.total()

    @property
    def starts_per_hour(self):
        """Loads by the hour."""
        return self.start_count / self.seconds * 3600

    @property
    def turned_away(self):
        """Requests that got no answer, for whatever reason."""
        return self.refused.total() + self.failed

    @property
    def fairness(self):
        """How evenly the mean wait is spread over the kinds of clients."""
        return jain([sum(waits) / len(waits) + 1e-9 for waits in self.waits.values()])

    @property
    def fairness_of_callers(self):
        """How evenly the mean wait is spread over the API keys."""
        return jain([sum(waits) / len(waits) + 1e-9 for waits in self.caller_waits.values()])

    def __add__(self, other):
        """Two days as one, so that several seeds can be scored together."""
        total = Scores()
        for part in (self, other):
            for kind, waits in part.waits.items():
                total.waits.setdefault(kind, []).extend(waits)
            for caller, waits in part.caller_waits.items():
                total.caller_waits.setdefault(caller, []).extend(waits)
            total.refused += part.refused
            total.starts += part.starts
            total.game_waits += part.game_waits
            for name in ("failed", "lost", "out_of_memory", "loading_seconds", "seconds", "events"):
                setattr(total, name, getattr(total, name) + getattr(part, name))
        return total
