"""NVIDIA devices, and nothing of what it takes to read them where there is no driver for any."""

import ctypes
import time
from typing import Final

from llama_swap.gpu.devices import DeviceSnapshot, ReadsDevices

LIBRARY: Final = "libnvidia-ml.so.1"
NO_LIBRARY: Final = f"no NVIDIA driver library ({LIBRARY}) on this machine"


class Nvidia:
    """Reads NVIDIA devices through :mod:`.nvml`, which is imported (2 MB) once the driver's library is found.

    It may be installed while the service runs: to look for it takes microseconds.
    """

    def __init__(self) -> None:
        self._nvml: ReadsDevices | None = None

    def read(self) -> DeviceSnapshot:
        """All NVIDIA devices; none, and why, where there is no working driver."""
        at = time.monotonic()
        if self._nvml is None:
            try:
                ctypes.CDLL(LIBRARY)
            except OSError:
                return DeviceSnapshot(at, problem=NO_LIBRARY)
            from llama_swap.gpu.nvml import Nvml  # noqa: PLC0415 - see above

            self._nvml = Nvml()
        return self._nvml.read()

    def close(self) -> None:
        """Let go of the driver."""
        if self._nvml is not None:
            self._nvml.close()
