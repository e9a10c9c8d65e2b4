"""The hour of samples in llama-swap's form."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from llama_swap.gpu import Device
from llama_swap.metrics import PerformanceRing


@pytest.fixture
def ring():
    """A sample every five seconds."""
    return PerformanceRing(5.0)


def told(ring, after=None):
    """What is answered."""
    return json.loads(ring.to_json(after))


def test_the_form(ring, sample, card):
    """Names and units are llama-swap's: MiB, percent, interfaces as net_io."""
    ring.add(sample, [card])
    assert told(ring) == {
        "enabled": True,
        "sys_stats": [
            {
                "timestamp": "2027-01-15T08:00:00.500000Z",
                "cpu_util_per_core": [12.5, 99.0],
                "mem_total_mb": 65536,
                "mem_used_mb": 16384,
                "mem_free_mb": 8192,
                "swap_total_mb": 2048,
                "swap_used_mb": 1024,
                "load_avg_1": 1.0,
                "load_avg_5": 0.5,
                "load_avg_15": 0.25,
                "net_io": [{"name": "eth0", "bytes_recv": 1000, "bytes_sent": 2000}],
            }
        ],
        "gpu_stats": [
            {
                "timestamp": "2027-01-15T08:00:00.500000Z",
                "id": 0,
                "name": 'Card "one"',
                "uuid": "GPU-1",
                "temp_c": 40,
                "vram_temp_c": 50,
                "gpu_util_pct": 70,
                "mem_util_pct": 25.0,
                "mem_used_mb": 20480,
                "mem_total_mb": 81920,
                "fan_speed_pct": 30,
                "power_draw_w": 250.5,
            }
        ],
    }


def test_unknown_is_zero_here(ring, sample):
    """llama-swap's form has numbers only."""
    ring.add(sample, [Device(3, "bare")])
    row = told(ring)["gpu_stats"][0]
    assert row.pop("id") == 3
    assert {key: value for key, value in row.items() if value} == {
        "timestamp": "2027-01-15T08:00:00.500000Z",
        "name": "bare",
    }


def test_only_what_came_later(ring, sample):
    """A client that hands back the last timestamp gets what is new, and nothing twice."""
    for second in range(3):
        ring.add(replace(sample, at=sample.at + second * 5), [])
    stamps = [row["timestamp"] for row in told(ring)["sys_stats"]]
    again = told(ring, datetime.fromisoformat(stamps[1]))
    assert [row["timestamp"] for row in again["sys_stats"]] == stamps[2:]
    assert told(ring, datetime.max.replace(tzinfo=UTC)) == {"enabled": True, "sys_stats": [], "gpu_stats": []}


def test_one_hour_and_no_more(ring, sample):
    """The oldest makes room."""
    for number in range(721):
        ring.add(replace(sample, at=number * 5.0), [])
    rows = told(ring)["sys_stats"]
    assert len(rows) == 720
    assert rows[0]["timestamp"].startswith("1970-01-01T00:00:05")


def test_switched_off(ring, sample):
    """Nothing is kept and nothing told; a reload switches it on again."""
    ring.add(sample, [])
    ring.configure(None)
    assert told(ring) == {"enabled": False}
    ring.add(sample, [])
    ring.configure(10.0)
    assert told(ring)["sys_stats"] == []


def test_another_interval_keeps_what_there_is(ring, sample):
    """As far as there is room for it."""
    ring.add(sample, [])
    ring.configure(60.0)
    assert len(told(ring)["sys_stats"]) == 1
