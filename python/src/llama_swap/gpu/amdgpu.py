"""AMD devices through what the kernel's amdgpu driver shows in sysfs: no library, no program, no privilege.

Files and units: Documentation/gpu/amdgpu and Documentation/hwmon/sysfs-interface of the kernel. The memory of single
processes is not read.
"""

import time
from collections.abc import Callable
from pathlib import Path

from llama_swap.gpu.devices import Device, DeviceSnapshot

_VENDOR_AMD = "0x1002"
_MILLI, _MICRO = 1000, 1_000_000


class Amdgpu:
    """Reads AMD devices.

    Args:
        sysfs: where sysfs is mounted.
        clock: monotonic seconds.
    """

    def __init__(self, sysfs: Path = Path("/sys"), clock: Callable[[], float] = time.monotonic) -> None:
        self._sysfs = sysfs
        self._clock = clock

    def read(self) -> DeviceSnapshot:
        """All AMD devices with memory, in the order of their cards; none is no problem."""
        at = self._clock()
        cards = sorted(self._sysfs.glob("class/drm/card[0-9]*/device"), key=_number)
        found = [
            card for card in cards if _text(card / "vendor") == _VENDOR_AMD and _whole(card / "mem_info_vram_total")
        ]
        version = _text(self._sysfs / "module/amdgpu/version")
        return DeviceSnapshot(at, tuple(_device(index, card, version) for index, card in enumerate(found)))

    def close(self) -> None:
        """There is nothing to let go of."""


def _number(card: Path) -> tuple[int, str]:
    """Of ``card0-HDMI-A-1`` and the like, which are connectors, too."""
    digits = card.parent.name.removeprefix("card")
    return (int(digits) if digits.isdecimal() else 0, digits)


def _device(index: int, card: Path, version: str | None) -> Device:
    sensors = next(iter(sorted(card.glob("hwmon/hwmon*"))), card / "hwmon")
    total, used = _whole(card / "mem_info_vram_total"), _whole(card / "mem_info_vram_used")
    temperatures = {_text(label): label.with_name(label.name.replace("label", "input")) for label in _labels(sensors)}
    power = _whole(sensors / "power1_average") or _whole(sensors / "power1_input")
    limit = _whole(sensors / "power1_cap")
    return Device(
        index=index,
        name=_text(card / "product_name") or f"AMD GPU {_text(card / 'device') or ''}".strip(),
        uuid=_text(card / "unique_id") or "",
        total_bytes=total,
        used_bytes=used,
        free_bytes=None if total is None or used is None else total - used,
        temperature_celsius=_degrees(temperatures.get("edge", sensors / "temp1_input")),
        memory_temperature_celsius=_degrees(temperatures.get("mem")),
        utilisation_percent=_whole(card / "gpu_busy_percent"),
        fan_percent=_fan_percent(sensors),
        power_watts=None if power is None else power / _MICRO,
        power_limit_watts=None if limit is None else limit / _MICRO,
        vendor="AMD",
        driver_name="amdgpu",
        driver_version=version,
    )


def _labels(sensors: Path) -> list[Path]:
    return sorted(sensors.glob("temp*_label"))


def _degrees(file: Path | None) -> int | None:
    millidegrees = None if file is None else _whole(file)
    return None if millidegrees is None else millidegrees // _MILLI


def _fan_percent(sensors: Path) -> int | None:
    speed, most = _whole(sensors / "pwm1"), _whole(sensors / "pwm1_max")
    return None if speed is None or not most else round(100 * speed / most)


def _text(file: Path) -> str | None:
    """What a file says; a sensor of a sleeping device is an error to read."""
    try:
        return file.read_text(errors="replace").strip() or None
    except OSError:
        return None


def _whole(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text is not None and text.isdecimal() else None
