"""Totals and the distribution of speeds, counted by SQLite so that a big store costs the interpreter nothing."""

import math
import sqlite3
from dataclasses import dataclass

_FEWEST_BINS = 5
_MOST_BINS = 20
_PERCENTILES = (50, 95, 99)
_TOTALS = """SELECT COUNT(*), COALESCE(SUM(MAX(input_tokens, 0)), 0), COALESCE(SUM(MAX(output_tokens, 0)), 0),
    COALESCE(SUM(MAX(cache_tokens, 0)), 0) FROM activity"""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often which speed was measured; the JSON names are llama-swap's.

    Attributes:
        bins: counts of equally wide ranges from ``min`` to ``max``; one bin of width 0 when all are equal.
        min, max, binSize, p50, p95, p99: tokens per second; percentiles are interpolated linearly.
    """

    bins: tuple[int, ...]
    min: float
    max: float
    binSize: float  # noqa: N815 - the name on the wire
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Stats:
    """Totals over rows; unknown counters count as zero. A histogram is None when no row has its speed."""

    total_requests: int
    total_input_tokens: int
    total_output_tokens: int
    total_cache_tokens: int
    prompt_histogram: Histogram | None
    gen_histogram: Histogram | None


def read_stats(db: sqlite3.Connection, model: str | None) -> Stats:
    """Statistics of one model, or of all."""
    where, values = ("model_id = ?", (model,)) if model else ("1", ())
    requests, read, written, cached = db.execute(f"{_TOTALS} WHERE {where}", values).fetchone()
    return Stats(
        total_requests=requests,
        total_input_tokens=read,
        total_output_tokens=written,
        total_cache_tokens=cached,
        prompt_histogram=_histogram(db, "prompt_per_second", where, values),
        gen_histogram=_histogram(db, "tokens_per_second", where, values),
    )


def bin_count(count: int) -> int:
    """Sturges' rule, between 5 and 20."""
    return min(_MOST_BINS, max(_FEWEST_BINS, math.ceil(math.log2(count)) + 1))


def _histogram(db: sqlite3.Connection, column: str, where: str, values: tuple[str, ...]) -> Histogram | None:
    measured = f"FROM activity WHERE {where} AND {column} > 0"
    lowest, highest, count = db.execute(f"SELECT MIN({column}), MAX({column}), COUNT(*) {measured}", values).fetchone()
    if not count:
        return None
    p50, p95, p99 = _percentiles(db, column, measured, values, count)
    if lowest == highest:
        return Histogram((count,), lowest, highest, 0, p50, p95, p99)
    bins = [0] * bin_count(count)
    width = (highest - lowest) / len(bins)
    query = f"SELECT MIN(CAST(({column} - ?) / ? AS INTEGER), ?) AS bin, COUNT(*) {measured} GROUP BY bin"
    for position, size in db.execute(query, (lowest, width, len(bins) - 1, *values)):
        bins[position] = size
    return Histogram(tuple(bins), lowest, highest, width, p50, p95, p99)


def _percentiles(
    db: sqlite3.Connection, column: str, measured: str, values: tuple[str, ...], count: int
) -> tuple[float, ...]:
    ranks = [percent / 100 * (count - 1) for percent in _PERCENTILES]
    wanted = sorted({math.floor(rank) for rank in ranks} | {math.ceil(rank) for rank in ranks})
    ordered = f"SELECT {column} AS speed, ROW_NUMBER() OVER (ORDER BY {column}) - 1 AS place {measured}"
    query = f"SELECT place, speed FROM ({ordered}) WHERE place IN ({', '.join('?' * len(wanted))})"  # noqa: S608 - only our own text
    speeds: dict[int, float] = dict(db.execute(query, (*values, *wanted)).fetchall())
    below = [speeds[math.floor(rank)] for rank in ranks]
    above = [speeds[math.ceil(rank)] for rank in ranks]
    return tuple(
        low + (rank - math.floor(rank)) * (high - low) for low, high, rank in zip(below, above, ranks, strict=True)
    )
