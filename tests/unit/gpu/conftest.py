"""A driver that says what a test wants it to, and devices to begin with."""

import ctypes
from dataclasses import fields

import pynvml
import pytest

# What the driver says about one ordinary card; 80 GiB with 1 GiB for the driver itself.
CARD = """
init 0
count 1
0.name NVIDIA Test 80GB
0.uuid GPU-0000
0.v2 1
0.total 85899345920
0.reserved 1073741824
0.used 10737418240
0.free 74088185856
0.temp 41
0.memtemp 52
0.util 37
0.fan 30
0.power 123456
0.limit 700000
0.arch 9
0.compute 100 4294967296
0.compute 200 6442450944
"""


def unknown(device):
    """The names of the fields that the driver does not tell."""
    return [field.name for field in fields(device) if getattr(device, field.name) is None]


class Driver:
    """What the driver says from now on."""

    def __init__(self, path):
        self._path = path

    def says(self, text):
        """Replace everything."""
        self._path.write_text(text)

    def vanishes(self):
        """The kernel driver is unloaded."""
        self._path.unlink()


@pytest.fixture
def driver(nvml_library, tmp_path, monkeypatch):
    """The real pynvml over the stand-in, with one card."""
    path = tmp_path / "driver"
    monkeypatch.setenv("NVML_STUB", str(path))
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(nvml_library / "libnvidia-ml.so.1")))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    driver = Driver(path)
    driver.says(CARD)
    return driver
