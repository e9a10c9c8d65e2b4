"""The tables: medians with their spread, and ratios to no proxy and to each peer."""

import statistics
from collections.abc import Sequence

from bench.proxy.cases import Case, Metric
from bench.proxy.load import Figures

DIRECT = "direct"
OURS = "ours"

Rounds = dict[str, list[Figures]]


def table(case: Case, rounds: Rounds) -> str:
    """The table of one case: a line for each candidate, then one for each of ours beside each other candidate."""
    columns = [column for metric in case.metrics for column in _columns(metric, rounds)]
    names = [name for name in rounds if rounds[name]]
    ours = [name for name in names if name.startswith(OURS)]
    pairs = [(our, other) for our in ours for other in names if other not in ours]
    lines = [["", *(title for title, _, _ in columns)]]
    lines += [[name, *(_cell(values[name], digits) for _, digits, values in columns)] for name in names]
    lines += [
        [f"{our} : {other}", *(_ratio(values[our], values[other]) for _, _, values in columns)] for our, other in pairs
    ]
    return f"\n{case.name}: {case.title}\n{_aligned(lines)}"


def _columns(metric: Metric, rounds: Rounds) -> list[tuple[str, int, dict[str, list[float]]]]:
    """A title, the digits and the values of each candidate; a time that is added has a second column for that."""
    values = {
        name: [found[metric.name] for found in figures if metric.name in found] for name, figures in rounds.items()
    }
    columns = [(metric.title, metric.digits, values)]
    if metric.added and values.get(DIRECT):
        base = statistics.median(values[DIRECT])
        added = {name: [value - base for value in found] for name, found in values.items() if name != DIRECT}
        columns.append(("added", metric.digits, {DIRECT: [], **added}))
    return columns


def _cell(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    median = f"{statistics.median(values):.{digits}f}"
    return f"{median} ({min(values):.{digits}f}..{max(values):.{digits}f})" if len(values) > 1 else median


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    if not ours or not theirs or abs(statistics.median(theirs)) < 1e-6:
        return "-"
    return f"{statistics.median(ours) / statistics.median(theirs):.2f}"


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
