"""Points in time in a query string."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from llama_swap.api.timestamps import read_timestamp
from llama_swap.errors import RequestError

EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", None),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02t03:04:05.5z", datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=EAST)),
        ("2026-01-02T03:04:05 02:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=EAST)),
    ],
)
def test_rfc3339(text, moment):
    """Both cases, fractions, and a plus sign that became a blank."""
    assert read_timestamp("after", text) == moment


@pytest.mark.parametrize("text", ["now", "2026-01-02", "2026-01-02T03:04:05", "2026-02-31T00:00:00Z", "1767225600"])
def test_anything_else_is_refused(text):
    """With llama-swap's words."""
    with pytest.raises(RequestError, match=r"^invalid 'after' timestamp, use RFC3339 format$"):
        read_timestamp("after", text)
