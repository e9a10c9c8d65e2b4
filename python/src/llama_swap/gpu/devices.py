"""What is known about the devices at one moment: frozen, in bytes, with None for what the driver does not tell."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class MemoryKind(StrEnum):
    """Whose memory a device computes in."""

    DEDICATED = "dedicated"
    UNIFIED = "unified"  # the machine's own (NVIDIA GB10, integrated GPUs): the device has no figures of its own


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """A process with memory on a device.

    Attributes:
        pid: as the driver sees it; inside a container that can be a number of the host.
        used_bytes: None where the driver knows the process but not its memory.
    """

    pid: int
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class Device:
    """One device, or one MIG instance of one; None is "not known", never zero.

    Attributes:
        index: position in the list of the driver; MIG instances count in the place of their device.
        total_bytes, used_bytes, free_bytes: memory; what the driver reserves is in none but the total.
        processes: who has memory on it; None where that cannot be known.
        utilisation_percent: share of the last sample period in which anything ran.
        power_limit_watts: the limit that is enforced.
        architecture: name of the generation, for example Hopper.
        problem: why (nearly) nothing is known, for example "GPU is lost"; "" is none.
    """

    index: int
    name: str
    uuid: str = ""
    memory_kind: MemoryKind = MemoryKind.DEDICATED
    total_bytes: int | None = None
    used_bytes: int | None = None
    free_bytes: int | None = None
    processes: tuple[ProcessUse, ...] | None = None
    temperature_celsius: int | None = None
    memory_temperature_celsius: int | None = None
    utilisation_percent: int | None = None
    fan_percent: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    vendor: str | None = None
    architecture: str | None = None
    driver_name: str | None = None
    driver_version: str | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DeviceSnapshot:
    """All devices at one moment.

    Attributes:
        at: monotonic seconds at which the reading began.
        problem: why there are none, or why this is old; "" when all is well, also on a machine without any.
    """

    at: float
    devices: tuple[Device, ...] = ()
    problem: str = ""


class ReadsDevices(Protocol):
    """Reads all devices of this machine; may block, and is only called from one thread."""

    def read(self) -> DeviceSnapshot:
        """The devices now; a problem is part of the answer, not an exception."""

    def close(self) -> None:
        """Let go of the driver."""
