"""What may be asked of the activity store, and the SQL for it."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

DEFAULT_LIMIT = 25
_LARGEST = 2**63 - 1

# Name of a sort key (llama-swap v250) -> column. No text of a request ever becomes SQL.
SORT_COLUMNS: Final = MappingProxyType(
    {
        "id": "id",
        "time": "ts_created",
        "model": "model_id",
        "req_path": "req_path",
        "resp_status_code": "resp_status_code",
        "resp_content_type": "resp_content_type",
        "cached": "cache_tokens",
        "prompt": "input_tokens",
        "generated": "output_tokens",
        "drafted": "draft_tokens",
        "prompt_speed": "prompt_per_second",
        "gen_speed": "tokens_per_second",
        "duration": "duration_ms",
    }
)


@dataclass(frozen=True, slots=True)
class ActivityQuery:
    """One page of rows.

    Attributes:
        models: only these IDs; empty for all.
        start_seconds, end_seconds: whole seconds since 1970, both inclusive.
        min_id, max_id: both inclusive.
        sort: a key of :data:`SORT_COLUMNS`.
    """

    limit: int = DEFAULT_LIMIT
    page: int = 1
    models: tuple[str, ...] = ()
    start_seconds: int | None = None
    end_seconds: int | None = None
    min_id: int | None = None
    max_id: int | None = None
    sort: str = "id"
    ascending: bool = False

    @property
    def offset(self) -> int:
        """How many rows stand before the page."""
        return min((self.page - 1) * self.limit, _LARGEST)

    def where(self) -> tuple[str, list[str | int]]:
        """The WHERE clause with a leading blank, or "", and its parameters."""
        conditions: list[str] = []
        values: list[str | int] = []
        if self.models:
            conditions.append(f"model_id IN ({', '.join('?' * len(self.models))})")
            values += self.models
        bounds = {
            "ts_created >= ?": self.start_seconds,
            "ts_created <= ?": self.end_seconds,
            "id >= ?": self.min_id,
            "id <= ?": self.max_id,
        }
        for condition, bound in bounds.items():
            if bound is not None:
                conditions.append(condition)
                values.append(bound)
        return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), values

    def order_by(self) -> str:
        """The ORDER BY clause with a leading blank; equal rows go by ID, so that pages do not overlap."""
        column = SORT_COLUMNS[self.sort]
        direction = "ASC" if self.ascending else "DESC"
        last = "" if column == "id" else f", id {direction}"
        return f" ORDER BY {column} {direction}{last}"
