"""The NVIDIA driver where there is one, and where there is none."""

import os
import subprocess
import sys

import pytest

from llama_swap.gpu import Nvidia

from .conftest import CARD

READ = """
import sys
from llama_swap.gpu import Nvidia
nvidia = Nvidia()
snapshot = nvidia.read()
nvidia.close()
print([device.name for device in snapshot.devices], "pynvml" in sys.modules)
"""


@pytest.fixture
def read(nvml_library, tmp_path):
    """What a process reads that finds the driver's library, and whether it imported what that takes."""

    def in_a_process(**env):
        command = [sys.executable, "-c", READ]
        done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    (tmp_path / "driver").write_text(CARD)
    return in_a_process


def test_a_driver_is_read(read, nvml_library, tmp_path):
    """Through NVML."""
    found = read(LD_LIBRARY_PATH=str(nvml_library), NVML_STUB=str(tmp_path / "driver"))
    assert found == "['NVIDIA Test 80GB'] True"


def test_without_a_driver_nothing_is_imported_for_it(monkeypatch):
    """It says what is missing, each time it is asked, and may be closed."""

    def none_there(name):
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", none_there)
    nvidia = Nvidia()
    for _ in range(2):
        snapshot = nvidia.read()
        assert (snapshot.devices, "no NVIDIA driver library" in snapshot.problem) == ((), True)
    nvidia.close()
    code = "import sys, llama_swap.gpu; assert 'pynvml' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
