"""Print how the scheduler does on simulated days, beside others, in virtual time.

Run: ``python bench/simulation.py`` for the table, ``python bench/simulation.py sweep`` for what the defaults are chosen
from. The same figures come out on every machine; the world they come from is in ``tests/simulation/simulated``.
"""

import sys
from functools import reduce
from operator import add
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "simulation"))

from simulated import one_place
from simulated.days import DAYS, simulate

from llama_swap.scheduler.spec import FitSpec, Limits

SEEDS = (1, 2)
SCHEDULERS = {
    "memory (fit)": "fit",
    "groups": "group",
    "least recently used of N": "lru",
    "one by one, in order": "fifo",
}
COLUMNS = (
    "day", "scheduler", "starts/h", "p50 wait", "p95 wait", "worst", "turned away", "out of memory", "fair to keys",
    "game waits",
)  # fmt: skip
ONE_PLACE_COLUMNS = ("workload", "scheduler", "starts/h", "p50 wait", "p95 wait", "worst", "fairness", "gave up")
SWEEP_COLUMNS = ("day", "setting", "value", "starts/h", "p50 wait", "p95 wait", "worst", "mean", "mean by API key")
SWEPT = ("one big model at a time (24 GiB)", "an afternoon without rest (24 GiB)", "a greedy key (24 GiB)")
SWEEPS = {
    "minResidency": {s: {"fit": FitSpec(min_residency_seconds=s)} for s in (0.0, 5.0, 10.0, 20.0)},
    "maxWait": {s: {"limits": Limits(max_wait_seconds=s)} for s in (5.0, 10.0, 20.0, 40.0)},
    "fairShare": {s: {"limits": Limits(fair_share_seconds=s)} for s in (0.0, 10.0, 20.0, 40.0, 80.0)},
    "readAhead": {flag: {"fit": FitSpec(read_ahead=flag)} for flag in (False, True)},
}


def score(kind, day, **settings):
    """The same day with all seeds, as one."""
    return reduce(add, (simulate(kind, day, seed=seed, **settings) for seed in SEEDS))


def waits(scores):
    """Three columns."""
    return tuple(f"{s:.1f} s" for s in (scores.percentile(0.5), scores.percentile(0.95), scores.worst))


def days():
    """One row for each day and scheduler."""
    for name, day in DAYS.items():
        for label, kind in SCHEDULERS.items():
            s = score(kind, day)
            games = ", ".join(f"{wait:.0f} s" for wait in s.game_waits) or "-"
            keys = f"{s.fairness_of_callers:.2f}" if len(s.caller_waits) > 1 else "-"
            counts = (str(s.turned_away), str(s.out_of_memory), keys, games)
            yield name, label, f"{s.starts_per_hour:.1f}", *waits(s), *counts


def mean(values):
    """Their mean in words."""
    return f"{sum(values) / len(values):.1f} s"


def sweeps():
    """One row for each day and value of each setting."""
    for setting, values in SWEEPS.items():
        for name in SWEPT:
            for value, settings in values.items():
                s = score("fit", DAYS[name], **settings)
                keys = ", ".join(f"{caller or '-'}: {mean(of_it)}" for caller, of_it in s.caller_waits.items())
                yield name, setting, str(value), f"{s.starts_per_hour:.1f}", *waits(s), mean(s.all_waits()), keys


def one_place_rows():
    """Three models that share one place, without memory."""
    variants = {
        "naive": ("naive", {}),
        "ours": ("ours", {}),
        "ours, max_wait 60": ("ours", {"max_wait_seconds": 60.0}),
        "ours, c persistent": ("ours", {"groups": one_place.GROUPS}),
    }
    for workload in one_place.WORKLOADS:
        for name, (kind, keys) in variants.items():
            s = one_place.simulate(kind, workload, **keys)
            yield workload, name, f"{s.starts_per_hour:.0f}", *waits(s), f"{s.fairness:.2f}", str(s.lost)


def show(columns, rows):
    """Print a table."""
    table = [columns, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()


def main():
    """Print the tables."""
    if "sweep" in sys.argv[1:]:
        show(SWEEP_COLUMNS, sweeps())
        return
    show(COLUMNS, days())
    show(ONE_PLACE_COLUMNS, one_place_rows())


if __name__ == "__main__":
    main()
