"""NVIDIA devices through NVML, the library of the driver (``libnvidia-ml.so.1``, by nvidia-ml-py).

NVML makes no CUDA context, so looking costs no device memory. Every field is asked for on its own: which of them a
device answers depends on its kind (GB10 has no memory figures, MIG instances no utilisation, some cards no fan).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pynvml

from llama_swap.gpu.devices import Device, DeviceSnapshot, MemoryKind, ProcessUse
from llama_swap.gpu.nvidia import NO_LIBRARY

RETRY_SECONDS = 60.0
"""After a failure to open NVML: a machine without NVIDIA driver is not asked all the time."""
SOON_SECONDS = 2.0
"""The same where it was open before: the driver is being replaced, and until it is back nobody knows what is free."""
_MILLI = 1000.0

# The library itself is of no use any more: the driver was unloaded, reloaded or upgraded under us.
_LIBRARY_ERRORS = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)
# The device is there no more, or only for show.
_DEVICE_ERRORS = frozenset(
    {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED, pynvml.NVML_ERROR_GPU_NOT_FOUND}
)
_HINTS = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: NO_LIBRARY,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA kernel driver is not loaded",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA driver was replaced while its old library is in use: restart this service, or the machine"
    ),
}
_ARCHITECTURES = {
    pynvml.NVML_DEVICE_ARCH_KEPLER: "Kepler",
    pynvml.NVML_DEVICE_ARCH_MAXWELL: "Maxwell",
    pynvml.NVML_DEVICE_ARCH_PASCAL: "Pascal",
    pynvml.NVML_DEVICE_ARCH_VOLTA: "Volta",
    pynvml.NVML_DEVICE_ARCH_TURING: "Turing",
    pynvml.NVML_DEVICE_ARCH_AMPERE: "Ampere",
    pynvml.NVML_DEVICE_ARCH_ADA: "Ada Lovelace",
    pynvml.NVML_DEVICE_ARCH_HOPPER: "Hopper",
    10: "Blackwell",  # NVML_DEVICE_ARCH_BLACKWELL, which older nvidia-ml-py does not name
}


class Nvml:
    """Reads NVIDIA devices; opens NVML when first asked and again after it was lost, or a device was."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._is_open = False
        self._problem = ""
        self._retry_at = float("-inf")
        self._most = 0

    def read(self) -> DeviceSnapshot:
        """All NVIDIA devices; none, and why, where there is no working driver."""
        at = self._clock()
        if not self._is_open and at < self._retry_at:
            return DeviceSnapshot(at, problem=self._problem)
        try:
            if not self._is_open:
                pynvml.nvmlInit()
                self._is_open = True
            driver = _known(pynvml.nvmlSystemGetDriverVersion)
            count = pynvml.nvmlDeviceGetCount()
            devices = tuple(_device(index, handle, driver) for index, handle in enumerate(_handles(count)))
        except pynvml.NVMLError as error:
            self.close()
            self._problem = _HINTS.get(error.value, f"NVML: {error}")
            self._retry_at = at + (SOON_SECONDS if self._most else RETRY_SECONDS)
            return DeviceSnapshot(at, problem=self._problem)
        self._most = max(self._most, count)
        if count < self._most or any(device.problem for device in devices):
            self.close()  # a device that comes back is only seen by a new start of NVML
        return DeviceSnapshot(at, devices)

    def close(self) -> None:
        """Let go of NVML, so that the driver can be unloaded."""
        if self._is_open:
            self._is_open = False
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()


def _known(ask: Callable[..., Any], *arguments: Any) -> Any:
    """The answer of NVML, or None where it has none; raises only when the library or the device is gone."""
    try:
        return ask(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _LIBRARY_ERRORS or error.value in _DEVICE_ERRORS:
            raise
        return None


def _handles(count: int) -> Iterator[Any]:
    """All devices; one that is split by MIG is replaced by its instances. A lost one gives its error."""
    for index in range(count):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            mode = _known(pynvml.nvmlDeviceGetMigMode, handle)
            if mode is None or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
                yield handle
                continue
            instances = range(_known(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)
        except pynvml.NVMLError as error:
            if error.value in _LIBRARY_ERRORS:
                raise
            yield error
            continue
        found = (_known(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, instance) for instance in instances)
        yield from (instance for instance in found if instance is not None)


def _device(index: int, handle: Any, driver: str | None) -> Device:
    blank = Device(index, "NVIDIA GPU", vendor="NVIDIA", driver_name="NVIDIA", driver_version=driver)
    if isinstance(handle, pynvml.NVMLError):
        return replace(blank, problem=str(handle))
    try:
        return _with_memory(_with_sensors(blank, handle), handle)
    except pynvml.NVMLError as error:
        if error.value in _LIBRARY_ERRORS:
            raise
        return replace(blank, problem=str(error))


def _with_sensors(blank: Device, handle: Any) -> Device:
    rates = _known(pynvml.nvmlDeviceGetUtilizationRates, handle)
    return replace(
        blank,
        name=_known(pynvml.nvmlDeviceGetName, handle) or blank.name,
        uuid=_known(pynvml.nvmlDeviceGetUUID, handle) or "",
        temperature_celsius=_known(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        memory_temperature_celsius=_memory_temperature(handle),
        utilisation_percent=None if rates is None else rates.gpu,
        fan_percent=_known(pynvml.nvmlDeviceGetFanSpeed, handle),
        power_watts=_watts(_known(pynvml.nvmlDeviceGetPowerUsage, handle)),
        power_limit_watts=_watts(_known(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
        architecture=_ARCHITECTURES.get(_known(pynvml.nvmlDeviceGetArchitecture, handle)),
    )


def _with_memory(device: Device, handle: Any) -> Device:
    """Version 2 keeps what the driver reserves apart from what is used; drivers before 510 only know version 1."""
    device = replace(device, processes=_processes(handle))
    memory = _known(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
    try:
        memory = memory if memory is not None else pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_NOT_SUPPORTED:
            raise
        return replace(device, memory_kind=MemoryKind.UNIFIED)
    return replace(device, total_bytes=memory.total, used_bytes=memory.used, free_bytes=memory.free)


def _processes(handle: Any) -> tuple[ProcessUse, ...] | None:
    """Vulkan counts as graphics, CUDA as compute; a process in both lists has the same figure in each."""
    lists = [
        _known(pynvml.nvmlDeviceGetComputeRunningProcesses, handle),
        _known(pynvml.nvmlDeviceGetGraphicsRunningProcesses, handle),
    ]
    if all(found is None for found in lists):
        return None
    uses: dict[int, int | None] = {}
    for process in (process for found in lists for process in found or ()):
        known = uses.get(process.pid)
        used = process.usedGpuMemory
        uses[process.pid] = used if known is None else max(known, used or 0)
    return tuple(ProcessUse(pid, used) for pid, used in sorted(uses.items()))


def _memory_temperature(handle: Any) -> int | None:
    values = _known(pynvml.nvmlDeviceGetFieldValues, handle, [pynvml.NVML_FI_DEV_MEMORY_TEMP])
    if values is None or values[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    celsius: int = values[0].value.uiVal
    return celsius or None


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / _MILLI
