"""Memory and utilisation as snapshots: what the drivers and the kernel tell, and what they do not."""

from llama_swap.gpu.amdgpu import Amdgpu
from llama_swap.gpu.combined import AllDevices
from llama_swap.gpu.devices import Device, DeviceSnapshot, MemoryKind, ProcessUse
from llama_swap.gpu.holdings import Holder, Holding, MemoryReading
from llama_swap.gpu.host import HostMemory, ProcessMemory
from llama_swap.gpu.memory import MemoryWatch, kernel
from llama_swap.gpu.nvidia import Nvidia
from llama_swap.gpu.watch import DeviceWatch

__all__ = [
    "AllDevices",
    "Amdgpu",
    "Device",
    "DeviceSnapshot",
    "DeviceWatch",
    "Holder",
    "Holding",
    "HostMemory",
    "MemoryKind",
    "MemoryReading",
    "MemoryWatch",
    "Nvidia",
    "ProcessMemory",
    "ProcessUse",
    "kernel",
]
