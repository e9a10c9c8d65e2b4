"""A stand-in for the driver's library, built here, and devices to begin with."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pynvml
import pytest

SOURCE = Path(__file__).with_name("nvml_stub.c")

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


@pytest.fixture(scope="session")
def stub_library(tmp_path_factory):
    """A folder with a ``libnvidia-ml.so.1`` that answers from a file."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the stand-in for the driver's library")
    folder = tmp_path_factory.mktemp("nvml")
    target = folder / "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-w", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run([compiler, *flags, "-o", target, SOURCE], check=True)
    return folder


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
def driver(stub_library, tmp_path, monkeypatch):
    """The real pynvml over the stand-in, with one card."""
    path = tmp_path / "driver"
    monkeypatch.setenv("NVML_STUB", str(path))
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(stub_library / "libnvidia-ml.so.1")))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    driver = Driver(path)
    driver.says(CARD)
    return driver
