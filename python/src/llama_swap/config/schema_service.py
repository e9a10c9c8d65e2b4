"""The keys about what the service remembers of requests and of the machine, and what it leaves to others."""

from typing import Any

from pydantic import Field

from llama_swap.config.leaves import Count, Flag, Seconds, Text, one_of
from llama_swap.config.section import Section
from llama_swap.config.sizes import Memory
from llama_swap.scheduler.spec import WhileYielded, YieldSpec

_YIELD = YieldSpec()
_Requests: Any = one_of(*WhileYielded)


class StoreSection(Section):
    """Where the list of finished requests is kept."""

    path: Text | None = None
    """SQLite file; without it the list is kept in memory. Its directory must exist."""
    max_rows: Count = 0
    """Rows (an addition) to keep in the file, the oldest go first; 0 is all."""
    max_age_days: Count = 0
    """Days (an addition) to keep a row in the file; 0 is for ever."""


class PerformanceSection(Section):
    """Figures about the machine: processors, memory, network, GPUs."""

    disabled: Flag = False
    """Take no figures of the machine and its devices; `/api/performance` then answers 503, `/metrics` has the rest."""
    every: Seconds = 5.0
    """Seconds between two looks, at least 5; 0 is the default of 5."""


class ActivitySection(Section):
    """What the page of requests shows."""

    session_id: tuple[Text, ...] = Field(default=("X-Session-ID", "X-Litellm-Session-Id"), alias="session_id")
    """Request headers that may name a session, the first found counts; an empty list is none."""


class UiSection(Section):
    """What the pages show."""

    activity: ActivitySection = ActivitySection()
    """What the page of requests shows."""


class YieldSection(Section):
    """When the devices are left to other programs (games, say), and how."""

    free_below: Memory = _YIELD.free_below_bytes
    """Yield a device by itself (an addition) when the use of other programs leaves less than this free, and always
    leave as much when models start; 0 is never."""
    drain: Seconds = _YIELD.drain_seconds
    """Seconds (an addition) for models in use to finish what they serve; 0 is without bound."""
    return_after: Seconds = _YIELD.return_after_seconds
    """Seconds (an addition) without pressure before models may start again."""
    requests: _Requests = _YIELD.requests.value
    """What becomes of requests (an addition) for a model whose device is yielded: `refuse` with 503, or `wait`."""


class KeepAliveSection(Section):
    """`keep_alive` and `ttl` in requests, which say how long the model stays loaded after them."""

    honour: Flag = True
    """Do as they say (an addition); they are never forwarded."""
    max: Seconds = 0.0
    """Longest time in seconds (an addition) that a request may ask for; 0 is no limit."""
