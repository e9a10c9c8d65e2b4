"""The keys about what the service remembers of requests and of the machine."""

from pydantic import Field

from llama_swap.config.leaves import Count, Flag, Seconds, Text
from llama_swap.config.section import Section


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
    """Take no figures; `/api/performance` and `/metrics` then answer 503."""
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
