"""AMD devices as the kernel shows them in a made-up sysfs."""

import pytest

from llama_swap.gpu import Amdgpu

from .conftest import unknown

FILES = {
    "vendor": "0x1002",
    "device": "0x744c",
    "product_name": "Radeon RX 7900 XTX",
    "unique_id": "abc123",
    "mem_info_vram_total": "25753026560",
    "mem_info_vram_used": "5753026560",
    "gpu_busy_percent": "42",
    "hwmon/hwmon3/temp1_label": "edge",
    "hwmon/hwmon3/temp1_input": "51000",
    "hwmon/hwmon3/temp3_label": "mem",
    "hwmon/hwmon3/temp3_input": "66000",
    "hwmon/hwmon3/power1_average": "123000000",
    "hwmon/hwmon3/power1_cap": "327000000",
    "hwmon/hwmon3/pwm1": "51",
    "hwmon/hwmon3/pwm1_max": "255",
}


@pytest.fixture
def plug_in(tmp_path):
    """``plug_in(1, FILES)`` adds card 1."""

    def add(number, files):
        for name, text in files.items():
            file = tmp_path / f"class/drm/card{number}/device" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")

    return add


def test_a_card(plug_in, tmp_path):
    """Everything that the driver shows, in our units."""
    plug_in(1, FILES)
    (device,) = Amdgpu(tmp_path).read().devices
    assert (device.index, device.name, device.uuid) == (0, "Radeon RX 7900 XTX", "abc123")
    assert (device.total_bytes, device.used_bytes, device.free_bytes) == (25753026560, 5753026560, 20000000000)
    assert (device.temperature_celsius, device.memory_temperature_celsius) == (51, 66)
    assert (device.utilisation_percent, device.fan_percent) == (42, 20)
    assert (device.power_watts, device.power_limit_watts) == (123.0, 327.0)
    assert unknown(device) == ["processes", "architecture", "driver_version"]


def test_a_card_that_sleeps(plug_in, tmp_path):
    """Sensors that cannot be read are unknown; the name is made of its number."""
    plug_in(0, {key: FILES[key] for key in ("vendor", "device", "mem_info_vram_total")})
    (device,) = Amdgpu(tmp_path).read().devices
    assert device.name == "AMD GPU 0x744c"
    assert (device.free_bytes, device.temperature_celsius, device.fan_percent, device.power_watts) == (None,) * 4


def test_other_makers_and_connectors_are_none_of_ours(plug_in, tmp_path):
    """Cards are counted in the order of their numbers, card 10 after card 2."""
    plug_in(0, {**FILES, "vendor": "0x8086"})
    plug_in(10, {**FILES, "unique_id": "ten"})
    plug_in(2, {**FILES, "unique_id": "two"})
    plug_in("2-HDMI-A-1", {"vendor": "0x1002"})
    assert [(d.index, d.uuid) for d in Amdgpu(tmp_path).read().devices] == [(0, "two"), (1, "ten")]


def test_a_machine_without(tmp_path):
    """No sysfs at all is no problem."""
    snapshot = Amdgpu(tmp_path / "missing").read()
    assert (snapshot.devices, snapshot.problem) == ((), "")
