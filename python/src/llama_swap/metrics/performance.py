"""The last hour of samples, in the form of llama-swap's ``GET /api/performance`` (v250, internal/perf/types.go).

A sample is written as JSON once, when it comes: reading an hour of them is joining bytes.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from llama_swap.metrics.host import HostSample
from llama_swap.metrics.views import DeviceView

HOUR_SECONDS = 3600.0
_MIB = 1024 * 1024
_MICROSECONDS = "microseconds"


@dataclass(frozen=True, slots=True)
class _Entry:
    at: datetime
    host: bytes
    devices: tuple[bytes, ...]


class PerformanceRing:
    """One hour of samples; belongs to the event loop.

    Args:
        every_seconds: the time between two samples; None keeps none (``performance.disabled``).
    """

    def __init__(self, every_seconds: float | None) -> None:
        self._entries: deque[_Entry] = deque()
        self._every_seconds: float | None = None
        self.configure(every_seconds)

    @property
    def every_seconds(self) -> float | None:
        """The time between two samples; None while there are none."""
        return self._every_seconds

    def configure(self, every_seconds: float | None) -> None:
        """Change how often samples come; what is kept stays, as far as there is room for it."""
        self._every_seconds = every_seconds
        room = 0 if every_seconds is None else max(1, int(HOUR_SECONDS / every_seconds))
        self._entries = deque(self._entries, maxlen=room)

    def add(self, host: HostSample, devices: Collection[DeviceView]) -> None:
        """Keep a sample; the oldest makes room."""
        at = datetime.fromtimestamp(host.at, UTC)
        stamp = at.isoformat(timespec=_MICROSECONDS).replace("+00:00", "Z")
        encoded = tuple(msgspec.json.encode(_device_row(stamp, device)) for device in devices)
        self._entries.append(_Entry(at, msgspec.json.encode(_host_row(stamp, host)), encoded))

    def to_json(self, after: datetime | None = None) -> bytes:
        """``{"enabled", "sys_stats", "gpu_stats"}``, oldest first.

        Args:
            after: only samples later than this; None for all.
        """
        if self._every_seconds is None:
            return b'{"enabled":false}'
        chosen = [entry for entry in self._entries if after is None or entry.at > after]
        hosts = b",".join(entry.host for entry in chosen)
        devices = b",".join(device for entry in chosen for device in entry.devices)
        return b'{"enabled":true,"sys_stats":[%b],"gpu_stats":[%b]}' % (hosts, devices)


def _host_row(stamp: str, sample: HostSample) -> dict[str, Any]:
    return {
        "timestamp": stamp,
        "cpu_util_per_core": list(sample.cpu_percent),
        "mem_total_mb": sample.total_bytes // _MIB,
        "mem_used_mb": sample.used_bytes // _MIB,
        "mem_free_mb": sample.free_bytes // _MIB,
        "swap_total_mb": sample.swap_total_bytes // _MIB,
        "swap_used_mb": sample.swap_used_bytes // _MIB,
        "load_avg_1": round(sample.load[0], 2),
        "load_avg_5": round(sample.load[1], 2),
        "load_avg_15": round(sample.load[2], 2),
        "net_io": [
            {"name": count.interface, "bytes_recv": count.received_bytes, "bytes_sent": count.sent_bytes}
            for count in sample.network
        ],
    }


def _device_row(stamp: str, device: DeviceView) -> dict[str, Any]:
    """llama-swap has no form for "not known": 0 stands for it here, and only here."""
    return {
        "timestamp": stamp,
        "id": device.index,
        "name": device.name,
        "uuid": device.uuid,
        "temp_c": device.temperature_celsius or 0,
        "vram_temp_c": device.memory_temperature_celsius or 0,
        "gpu_util_pct": device.utilisation_percent or 0,
        "mem_util_pct": memory_percent(device) or 0,
        "mem_used_mb": (device.used_bytes or 0) // _MIB,
        "mem_total_mb": (device.total_bytes or 0) // _MIB,
        "fan_speed_pct": device.fan_percent or 0,
        "power_draw_w": device.power_watts or 0,
    }


def memory_percent(device: DeviceView) -> float | None:
    """The used share of a device's memory, 0 to 100; None where it is not known."""
    if not device.total_bytes or device.used_bytes is None:
        return None
    return round(100.0 * device.used_bytes / device.total_bytes, 2)
