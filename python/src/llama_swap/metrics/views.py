"""What this package needs to know of answers, devices and memory, whoever reads them."""

# ruff: noqa: D102 - the names and units of the members are those of the classes they mirror

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class UsageView(Protocol):
    """What an answer says about the work behind it (:class:`llama_swap.activity.Usage`); what is below 0 is unknown."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cache_tokens(self) -> int: ...
    @property
    def draft_tokens(self) -> int: ...
    @property
    def draft_acc_tokens(self) -> int: ...
    @property
    def prompt_per_second(self) -> float: ...
    @property
    def tokens_per_second(self) -> float: ...


class ProcessUseView(Protocol):
    """A process with memory on a device; ``used_bytes`` is None where that is not known."""

    @property
    def pid(self) -> int: ...
    @property
    def used_bytes(self) -> int | None: ...


class DeviceView(Protocol):
    """A device (:class:`llama_swap.gpu.Device`); None is "not known"."""

    @property
    def index(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def uuid(self) -> str: ...
    @property
    def memory_kind(self) -> str: ...
    @property
    def total_bytes(self) -> int | None: ...
    @property
    def used_bytes(self) -> int | None: ...
    @property
    def processes(self) -> Collection[ProcessUseView] | None: ...
    @property
    def temperature_celsius(self) -> int | None: ...
    @property
    def memory_temperature_celsius(self) -> int | None: ...
    @property
    def utilisation_percent(self) -> int | None: ...
    @property
    def fan_percent(self) -> int | None: ...
    @property
    def power_watts(self) -> float | None: ...
    @property
    def power_limit_watts(self) -> float | None: ...
    @property
    def vendor(self) -> str | None: ...
    @property
    def architecture(self) -> str | None: ...
    @property
    def driver_name(self) -> str | None: ...
    @property
    def driver_version(self) -> str | None: ...
    @property
    def problem(self) -> str: ...


class DeviceSnapshotView(Protocol):
    """All devices at one moment (:class:`llama_swap.gpu.DeviceSnapshot`); ``problem`` says why they may be old."""

    @property
    def devices(self) -> Collection[DeviceView]: ...
    @property
    def problem(self) -> str: ...


@dataclass(frozen=True, slots=True)
class ModelMemory:
    """The memory of all processes of one model.

    Attributes:
        resident_bytes: in RAM, with the pages of the model file that are mapped and in memory.
        device_bytes: by index of the device; a device that does not tell is missing.
    """

    resident_bytes: int
    device_bytes: Mapping[int, int] = field(default_factory=dict)


def device_memory(pids: Collection[int], devices: Collection[DeviceView]) -> dict[int, int]:
    """What these processes use on each device that knows."""
    found: dict[int, int] = {}
    for device in devices:
        if device.processes is None:
            continue
        used = [process.used_bytes for process in device.processes if process.pid in pids]
        if None not in used:
            found[device.index] = sum(bytes_ for bytes_ in used if bytes_ is not None)
    return found
