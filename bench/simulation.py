"""Print how the scheduler compares with strict first-in-first-out swapping, in virtual time.

Run: ``python bench/simulation.py``. Loading takes 20, 12 and 3 seconds for a, b and c, stopping 1 second.
"""

import runpy
from pathlib import Path

MODEL = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "simulation" / "conftest.py"))
COLUMNS = ("workload", "scheduler", "p50 wait", "p95 wait", "worst", "starts/h", "fairness", "gave up")


def rows():
    """One row for each workload and scheduler."""
    variants = {
        "naive": ("naive", {}),
        "ours": ("ours", {}),
        "ours, max_wait 60": ("ours", {"max_wait_seconds": 60.0}),
        "ours, c persistent": ("ours", {"groups": MODEL["GROUPS"]}),
    }
    for workload in MODEL["WORKLOADS"]:
        for name, (kind, keys) in variants.items():
            s = MODEL["simulate"](kind, workload, **keys)
            times = (f"{s.percentile(0.5):.1f} s", f"{s.percentile(0.95):.1f} s", f"{s.worst:.1f} s")
            yield workload, name, *times, f"{s.starts_per_hour:.0f}", f"{s.fairness:.2f}", str(s.lost)


def main():
    """Print the table."""
    table = [COLUMNS, *rows()]
    widths = [max(len(row[i]) for row in table) for i in range(len(COLUMNS))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
