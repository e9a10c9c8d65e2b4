"""Device memory and utilisation as snapshots: what the drivers tell, and what they do not."""

from llama_swap.gpu.amdgpu import Amdgpu
from llama_swap.gpu.combined import AllDevices
from llama_swap.gpu.devices import Device, DeviceSnapshot, MemoryKind, ProcessUse, ReadsDevices
from llama_swap.gpu.nvml import Nvml
from llama_swap.gpu.watch import DeviceWatch

__all__ = [
    "AllDevices",
    "Amdgpu",
    "Device",
    "DeviceSnapshot",
    "DeviceWatch",
    "MemoryKind",
    "Nvml",
    "ProcessUse",
    "ReadsDevices",
]
