"""NVIDIA devices as the real nvidia-ml-py reads them from a stand-in for the driver's library."""

import os
import subprocess
import sys

import pynvml
import pytest

from llama_swap.gpu import MemoryKind, ProcessUse
from llama_swap.gpu.nvml import RETRY_SECONDS, SOON_SECONDS, Nvml

from .conftest import CARD, unknown

GIB = 1024**3


class Clock:
    """Monotonic seconds that a test moves."""

    now = 0.0

    def __call__(self):
        """The time."""
        return self.now


def only(snapshot):
    """The one device of a reading without problem."""
    assert snapshot.problem == ""
    (device,) = snapshot.devices
    return device


def without(*keys):
    """The card without these answers."""
    return "\n".join(line for line in CARD.splitlines() if not line.startswith(tuple(f"0.{key} " for key in keys)))


def test_an_ordinary_card(driver):
    """Every field that the driver tells, in our units; the driver's own reserve is not "used"."""
    device = only(Nvml().read())
    assert (device.index, device.name, device.uuid) == (0, "NVIDIA Test 80GB", "GPU-0000")
    assert (device.total_bytes, device.used_bytes, device.free_bytes) == (80 * GIB, 10 * GIB, 69 * GIB)
    assert device.memory_kind is MemoryKind.DEDICATED
    assert device.processes == (ProcessUse(100, 4 * GIB), ProcessUse(200, 6 * GIB))
    assert (device.temperature_celsius, device.memory_temperature_celsius) == (41, 52)
    assert (device.utilisation_percent, device.fan_percent) == (37, 30)
    assert (device.power_watts, device.power_limit_watts) == (123.456, 700.0)
    assert (device.vendor, device.architecture, device.driver_version) == ("NVIDIA", "Hopper", "570.00")
    assert unknown(device) == []


def test_what_a_device_cannot_tell_is_unknown(driver):
    """A passive card has no fan and a virtual one no power: None, and the other fields stay."""
    driver.says(without("fan", "power", "limit", "memtemp", "util"))
    device = only(Nvml().read())
    assert unknown(device) == [
        "memory_temperature_celsius",
        "utilisation_percent",
        "fan_percent",
        "power_watts",
        "power_limit_watts",
    ]
    assert device.free_bytes == 69 * GIB


def test_a_device_without_memory_of_its_own(driver):
    """GB10 answers "not supported" when asked for memory: unified, and no figure is made up."""
    driver.says(without("v2", "total", "used", "free", "reserved"))
    device = only(Nvml().read())
    assert device.memory_kind is MemoryKind.UNIFIED
    assert (device.total_bytes, device.used_bytes, device.free_bytes) == (None, None, None)
    assert device.processes[0] == ProcessUse(100, 4 * GIB)


def test_an_old_driver_only_knows_the_first_form_of_memory(driver):
    """Before driver 510 the reserve counts as used."""
    driver.says(without("v2"))
    assert only(Nvml().read()).used_bytes == 11 * GIB


def test_processes_of_vulkan_and_cuda_are_one_list(driver):
    """A process in both lists counts once; one whose memory is hidden is listed without."""
    driver.says(f"{CARD}0.graphics 100 4294967296\n0.graphics 300 1024\n0.graphics 400 -1\n")
    device = only(Nvml().read())
    assert device.processes == (
        ProcessUse(100, 4 * GIB),
        ProcessUse(200, 6 * GIB),
        ProcessUse(300, 1024),
        ProcessUse(400, None),
    )


def test_mig_instances_stand_for_their_device(driver):
    """What can be used is listed: the instances, which know their memory but not their utilisation."""
    instances = "".join(
        f"{number}.parent 0\n{number}.uuid MIG-{number}\n{number}.total 1000\n{number}.free {free}\n"
        for number, free in ((5, 900), (6, 400))
    )
    driver.says(f"{CARD}0.mig 1\n{instances}")
    snapshot = Nvml().read()
    assert [(d.index, d.uuid, d.free_bytes, d.utilisation_percent) for d in snapshot.devices] == [
        (0, "MIG-5", 900, None),
        (1, "MIG-6", 400, None),
    ]


def test_a_lost_device_does_not_hide_the_others(driver, monkeypatch):
    """A card that fell off the bus is listed with its problem; it comes back without a restart of ours."""
    both = CARD.replace("count 1", "count 2") + "1.name Second\n1.total 5\n1.free 5\n1.v2 1\n"
    driver.says(f"{both}0.lost 15\n")
    starts, start = [], pynvml.nvmlInit
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: starts.append(start()))
    nvml = Nvml()
    first, second = nvml.read().devices
    assert (first.problem, first.total_bytes) == ("GPU is lost", None)
    assert (second.name, second.problem, second.total_bytes) == ("Second", "", 5)
    driver.says(both)
    assert [device.problem for device in nvml.read().devices] == ["", ""]
    assert len(starts) == 2, "the real library sees a device that comes back only after a new start"
    nvml.read()
    assert len(starts) == 2


def test_a_device_lost_between_two_questions(driver, monkeypatch):
    """The handle was good, the answer is an error: the same."""
    real = pynvml.nvmlDeviceGetName

    def lost(handle):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lost)
    assert only(Nvml().read()).problem == "GPU is lost"
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", real)


def test_the_driver_may_be_reloaded(driver):
    """Without driver there are no devices and a reason; two seconds after it is back there are devices again."""
    clock = Clock()
    nvml = Nvml(clock)
    assert only(nvml.read())
    driver.vanishes()
    gone = nvml.read()
    assert (gone.devices, gone.problem) == ((), "the NVIDIA kernel driver is not loaded")
    driver.says(CARD)
    clock.now = SOON_SECONDS - 0.1
    assert nvml.read().problem == gone.problem
    clock.now = SOON_SECONDS
    assert only(nvml.read()).name == "NVIDIA Test 80GB"


def test_a_driver_that_was_never_there(driver):
    """A machine without one is asked every minute, in case that somebody loads it."""
    clock = Clock()
    nvml = Nvml(clock)
    driver.vanishes()
    gone = nvml.read()
    driver.says(CARD)
    clock.now = RETRY_SECONDS - 1
    assert nvml.read().problem == gone.problem
    clock.now = RETRY_SECONDS
    assert only(nvml.read())


def test_a_device_that_was_taken_away(driver, monkeypatch):
    """Given to a virtual machine: the driver lists fewer, and NVML sees that one again only when started anew."""
    starts, start = [], pynvml.nvmlInit
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: starts.append(start()))
    nvml = Nvml()
    assert only(nvml.read())
    driver.says("init 0\ncount 0\n")
    assert nvml.read().devices == nvml.read().devices == ()
    driver.says(CARD)
    assert only(nvml.read())
    nvml.read()
    assert len(starts) == 3


def test_a_driver_that_was_upgraded_under_us(driver):
    """The library in memory no longer fits the kernel's part: say what to do."""
    driver.says("init 18\n")
    assert "restart this service" in Nvml().read().problem


def test_a_failure_without_a_name(driver):
    """Any other error of NVML is told as NVML tells it."""
    driver.says("init 999\n")
    assert Nvml().read().problem == "NVML: Unknown Error"


def test_a_driver_without_devices(driver):
    """All is well, there is only nothing."""
    driver.says("init 0\ncount 0\n")
    snapshot = Nvml().read()
    assert (snapshot.devices, snapshot.problem) == ((), "")


def test_a_machine_without_the_library(monkeypatch):
    """The usual machine without NVIDIA: a reason, not an error."""

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", missing)
    snapshot = Nvml().read()
    assert snapshot.devices == ()
    assert "no NVIDIA driver library" in snapshot.problem


def test_closing_lets_the_driver_go(driver, monkeypatch):
    """Once for every start, so that the kernel driver can be unloaded; what was never opened is not closed."""
    closed = []
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: closed.append(True))
    nvml = Nvml()
    nvml.close()
    assert closed == []
    nvml.read()
    nvml.close()
    nvml.close()
    assert closed == [True]


@pytest.mark.parametrize("reads", [3])
def test_the_library_is_found_by_its_name(driver, nvml_library, reads):
    """As in the service: another process that finds ``libnvidia-ml.so.1`` where the system looks for libraries."""
    program = (
        "from llama_swap.gpu.nvml import Nvml\n"
        f"nvml = Nvml()\nfor _ in range({reads}):\n    print(nvml.read().devices[0].free_bytes)\nnvml.close()"
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(nvml_library)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(69 * GIB)] * reads
