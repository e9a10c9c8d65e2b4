"""What the machine is made of."""

import pytest

from llama_swap.gpu import Device, DeviceSnapshot, MemoryKind
from llama_swap.metrics import Hardware
from llama_swap.metrics.hardware import RETRY_SECONDS, describe_hardware, environment_of, limited_capacity

CARD = Device(
    4,
    "NVIDIA H200",
    total_bytes=100,
    vendor="NVIDIA",
    architecture="Hopper",
    driver_name="NVIDIA",
    driver_version="570",
    power_limit_watts=700.0,
)


def test_this_machine():
    """All parts of llama-swap's form, with what is always known."""
    found = describe_hardware("1.2", [CARD, Device(5, "bare", memory_kind=MemoryKind.UNIFIED)])
    assert list(found) == [
        "schema_version",
        "captured_at",
        "capture",
        "architecture",
        "operating_system",
        "environment",
        "cpu",
        "memory",
        "accelerators",
    ]
    assert found["capture"]["detector"] == {"name": "llama-swap", "version": "1.2"}
    assert found["operating_system"]["family"] == "linux"
    assert found["cpu"]["logical_thread_count"] >= 1
    assert found["memory"]["capacity_bytes"] > 0


def test_accelerators():
    """Numbered from 0; what a device does not tell is null."""
    first, second = describe_hardware("1", [CARD, Device(9, "bare", memory_kind=MemoryKind.UNIFIED)])["accelerators"]
    assert first == {
        "index": 0,
        "kind": "gpu",
        "vendor": "NVIDIA",
        "model": "NVIDIA H200",
        "architecture": "Hopper",
        "memory": {"kind": "dedicated", "capacity_bytes": 100},
        "driver": {"name": "NVIDIA", "version": "570"},
        "power_limit_watts": 700.0,
    }
    assert second["index"] == 1
    assert second["memory"] == {"kind": "unified", "capacity_bytes": None}
    assert second["driver"] is None


@pytest.mark.parametrize(
    ("virtualisation", "kernel", "kind", "name"),
    [
        ("none", "6.6", "native", None),
        ("kvm", "6.6", "virtual_machine", "KVM"),
        ("docker", "6.6", "container", "Docker"),
        ("systemd-nspawn", "6.6", "container", "systemd-nspawn"),
        ("amazon", "6.6", "virtual_machine", "amazon"),
        (None, "6.6", "unknown", None),
        (None, "5.15.90-microsoft-standard-WSL2", "wsl", "WSL"),
    ],
)
def test_the_kind_of_machine(virtualisation, kernel, kind, name):
    """As systemd-detect-virt and the kernel tell it."""
    assert environment_of(virtualisation, kernel) == {"kind": kind, "name": name, "version": None}


@pytest.mark.parametrize(("limit", "capacity"), [("max\n", 100), ("60\n", 60), ("900\n", 100), ("0\n", 100)])
def test_the_limit_of_a_container(tmp_path, limit, capacity):
    """The control group's limit counts where it is less than the machine has."""
    file = tmp_path / "memory.max"
    file.write_text(limit)
    assert limited_capacity(100, [tmp_path / "missing", file]) == capacity


async def test_it_is_asked_once():
    """The description stays the same, with the moment it was made."""
    asked = []

    async def devices():
        asked.append(True)
        return DeviceSnapshot(0.0, (CARD,))

    hardware = Hardware("1", devices)
    assert await hardware.describe() is await hardware.describe()
    assert len(asked) == 1


async def test_a_driver_that_did_not_answer_is_asked_again():
    """After a minute, or a slow start of the driver would hide the devices for ever."""
    answers = [DeviceSnapshot(0.0, problem="late"), DeviceSnapshot(0.0, (CARD,))]
    now = [0.0]

    async def devices():
        return answers.pop(0)

    hardware = Hardware("1", devices, clock=lambda: now[0])
    assert (await hardware.describe())["accelerators"] == []
    now[0] = RETRY_SECONDS - 1
    assert (await hardware.describe())["accelerators"] == []
    now[0] = RETRY_SECONDS
    assert len((await hardware.describe())["accelerators"]) == 1
    now[0] = RETRY_SECONDS * 100
    assert len((await hardware.describe())["accelerators"]) == 1
