"""The machine as psutil tells it."""

import os
import subprocess
import sys
from typing import NamedTuple

import psutil
import pytest

from llama_swap.metrics.host import HostReader, busy_percent, resident_bytes


class Times(NamedTuple):
    """psutil's processor times on Linux, as far as we read them."""

    user: float
    nice: float
    system: float
    idle: float
    iowait: float
    guest: float
    guest_nice: float


def times(*, user=0.0, idle=0.0, iowait=0.0, guest=0.0):
    """Seconds of one core; a guest's time is in user too, as the kernel counts."""
    return Times(user + guest, 0.0, 0.0, idle, iowait, guest, 0.0)


@pytest.mark.parametrize(
    ("before", "after", "percent"),
    [
        (times(), times(user=1, idle=3), 25.0),
        (times(user=5, idle=5), times(user=5, idle=10), 0.0),
        (times(), times(user=1, idle=1, iowait=2), 25.0),
        (times(), times(guest=1, idle=1), 50.0),
        (times(user=5, idle=5), times(user=5, idle=5), 0.0),
        (times(user=5, idle=5), times(user=6, idle=4.99), 100.0),
    ],
    ids=["busy", "idle", "waiting for a disk is idle", "guest counts once", "no time passed", "counter ran back"],
)
def test_the_busy_share(before, after, percent):
    """What was not idle between two readings."""
    assert busy_percent([before], [after]) == (percent,)


def test_cores_that_come(monkeypatch):
    """A machine that gets another core has its share since the start for once."""
    assert busy_percent([times()], [times(user=1, idle=1), times(idle=1)]) == (50.0, 0.0)


def test_a_reading_of_this_machine():
    """Plausible and complete, without the loopback."""
    sample = HostReader(clock=lambda: 5.0).read()
    assert sample.at == 5.0
    assert len(sample.cpu_percent) == psutil.cpu_count()
    assert all(0 <= percent <= 100 for percent in sample.cpu_percent)
    assert 0 < sample.used_bytes < sample.total_bytes
    assert sample.free_bytes <= sample.total_bytes
    assert len(sample.load) == 3
    assert "lo" not in [count.interface for count in sample.network]


def test_memory_of_processes():
    """Those that run are added up, one that is gone counts nothing."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    own = resident_bytes([os.getpid()])
    assert own > 5 * 1024 * 1024
    assert resident_bytes([gone.pid]) == 0
    assert resident_bytes([os.getpid(), gone.pid]) >= own * 0.9
