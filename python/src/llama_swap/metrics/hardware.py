"""What the machine is made of, in the form of llama-swap's ``GET /api/hardware`` (v250, internal/hw/types.go).

What cannot be known is null. The devices come from whoever reads them.
"""

import asyncio
import platform
import subprocess
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from llama_swap.metrics.views import DeviceSnapshotView, DeviceView

SCHEMA_VERSION = 1
RETRY_SECONDS = 60.0
"""How long a description without devices holds, when their driver did not answer."""
_ARCHITECTURES = {
    "x86_64": "x86_64",
    "aarch64": "arm64",
    "armv7l": "armv7",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
_CONTAINERS = frozenset(
    {"docker", "lxc", "lxc-libvirt", "rkt", "podman", "systemd-nspawn", "openvz", "container-other"}
)
_SHOWN = {
    "docker": "Docker",
    "kvm": "KVM",
    "vmware": "VMware",
    "oracle": "VirtualBox",
    "microsoft": "Hyper-V",
    "lxc": "LXC",
    "wsl": "WSL",
}
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_VIRT_TIMEOUT_SECONDS = 5.0


class Hardware:
    """The description of this machine, made when it is first asked for.

    Args:
        version: of this service.
        devices: reads the devices.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        version: str,
        devices: Callable[[], Awaitable[DeviceSnapshotView]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._version = version
        self._devices = devices
        self._clock = clock
        self._known: Mapping[str, Any] | None = None
        self._true_until = float("inf")

    async def describe(self) -> Mapping[str, Any]:
        """The same each time; made again after a minute while the devices cannot be read."""
        if self._known is not None and self._clock() < self._true_until:
            return self._known
        snapshot = await self._devices()
        self._true_until = self._clock() + RETRY_SECONDS if snapshot.problem else float("inf")
        self._known = await asyncio.to_thread(describe_hardware, self._version, snapshot.devices)
        return self._known


def describe_hardware(version: str, devices: Collection[DeviceView]) -> dict[str, Any]:
    """A description of this machine; blocks for tens of milliseconds.

    Args:
        version: of this service, which is the detector.
        devices: as they were read.
    """
    machine = platform.machine()
    name = _ARCHITECTURES.get(machine, "other")
    return {
        "schema_version": SCHEMA_VERSION,
        "captured_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "capture": {
            "scope": "inference_host",
            "method": "detected",
            "detector": {"name": "llama-swap", "version": version},
        },
        "architecture": {"name": name, "raw_name": machine if name != machine else None},
        "operating_system": _operating_system(),
        "environment": environment_of(_virtualisation(), platform.release()),
        "cpu": _processors(Path("/proc/cpuinfo")),
        "memory": {"capacity_bytes": limited_capacity(psutil.virtual_memory().total, _CGROUP_LIMITS)},
        "accelerators": [_accelerator(index, device) for index, device in enumerate(devices)],
    }


def _operating_system() -> dict[str, Any]:
    release: dict[str, str] = {}
    with suppress(OSError):
        release = platform.freedesktop_os_release()
    return {
        "family": "linux",
        "name": release.get("ID"),
        "version": release.get("VERSION_ID"),
        "kernel": platform.release() or None,
    }


def environment_of(virtualisation: str | None, kernel: str) -> dict[str, Any]:
    """The kind of machine this is.

    Args:
        virtualisation: what ``systemd-detect-virt`` says; None where it cannot be asked.
        kernel: its release; that of WSL has Microsoft's name in it.
    """
    if "microsoft" in kernel.lower() or virtualisation == "wsl":
        kind, name = "wsl", "WSL"
    elif virtualisation is None:
        return {"kind": "unknown", "name": None, "version": None}
    elif virtualisation in ("", "none"):
        return {"kind": "native", "name": None, "version": None}
    else:
        kind = "container" if virtualisation in _CONTAINERS else "virtual_machine"
        name = _SHOWN.get(virtualisation, virtualisation)
    return {"kind": kind, "name": name, "version": None}


def _virtualisation() -> str | None:
    if Path("/.dockerenv").exists():
        return "docker"
    try:
        found = subprocess.run(
            ["systemd-detect-virt"],  # noqa: S607 - NixOS has no fixed place for it
            capture_output=True,
            check=False,
            text=True,
            timeout=_VIRT_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip()


def _processors(cpuinfo: Path) -> dict[str, Any]:
    text = ""
    with suppress(OSError):
        text = cpuinfo.read_text(errors="replace")
    fields = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in text.splitlines())]

    def first(name: str) -> str | None:
        return next((value for key, value in fields if key == name and value), None)

    sockets = {value for key, value in fields if key == "physical id"}
    return {
        "vendor": first("vendor_id"),
        "model": first("model name"),
        "socket_count": len(sockets) or None,
        "physical_core_count": psutil.cpu_count(logical=False) or None,
        "logical_thread_count": psutil.cpu_count() or None,
    }


def limited_capacity(total_bytes: int, limits: Iterable[Path]) -> int:
    """The memory that may be used: all of it, or what the control group allows (a container)."""
    capacity = total_bytes
    for limit in limits:
        with suppress(OSError, ValueError):
            capacity = min(capacity, int(limit.read_text()) or capacity)
    return capacity


def _accelerator(index: int, device: DeviceView) -> dict[str, Any]:
    driver = {"name": device.driver_name, "version": device.driver_version}
    return {
        "index": index,
        "kind": "gpu",
        "vendor": device.vendor,
        "model": device.name,
        "architecture": device.architecture,
        "memory": {"kind": str(device.memory_kind), "capacity_bytes": device.total_bytes},
        "driver": driver if any(driver.values()) else None,
        "power_limit_watts": device.power_limit_watts,
    }
