"""How amounts of memory are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.config.sizes import DeviceMemory, render_bytes, render_device_memory

CMD = "cmd: srv --port ${PORT}"
GIB = 1 << 30


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("2147483648", 2 * GIB),
        ("18GiB", 18 * GIB),
        ("18 GiB", 18 * GIB),
        ("18gib", 18 * GIB),
        ("17.5GiB", 17 * GIB + GIB // 2),
        ("500MiB", 500 << 20),
        ("2TiB", 2 << 40),
        ("18GB", 18 * 10**9),
        ("900MB", 900 * 10**6),
        ("2000KB", 2_000_000),
        ("1TB", 10**12),
        ('"4096KiB"', 4 << 20),
    ],
)
def test_amounts(model, text, amount):
    """Bytes as a number, or text with a whole unit."""
    found = model(f"{CMD}\nvram: {text}\nram: {text}")
    assert (found.vram_bytes, found.ram_bytes, found.vram_by_device) == (amount, amount, {})


def test_undeclared(model):
    """Nothing is said unless it is written; 0 is a statement."""
    assert model(CMD).vram_bytes is None
    assert model(CMD).ram_bytes is None
    assert model(f"{CMD}\nvram: 0").vram_bytes == 0


@pytest.mark.parametrize(
    ("text", "rule", "fix"),
    [
        ('"18"', 'a text like "18GiB"', '"18GiB" or "18GB"'),
        ("18G", 'a text like "18GiB"', '"18GiB" or "18GB"'),
        ("18M", 'a text like "18GiB"', '"18MiB" or "18MB"'),
        ("17.5", 'a text like "18GiB"', '"17.5GiB" or "17.5GB"'),
        ("18", "18 bytes are too few to be meant", 'write "18GiB", or 0'),
        ("1023", "1023 bytes are too few to be meant", 'write "1023GiB", or 0'),
        ("18000", "18000 bytes are too few to be meant", 'write "18000MiB", or 0'),
        ("1KiB", "1024 bytes are too few", ""),
        ("-1", "must be at least 0", ""),
        ("-5GiB", 'a text like "18GiB"', ""),
        ("2000TiB", "must be at most 1024TiB", ""),
        ("99999999999999999999", "must be at most 1024TiB", ""),
        ("lots", 'a text like "18GiB"', ""),
        ("true", 'a text like "18GiB"', ""),
        ("[1]", 'a text like "18GiB"', ""),
        (".nan", 'a text like "18GiB"', ""),
    ],
)
@pytest.mark.parametrize("key", ["vram", "ram"])
def test_what_is_no_amount(refused, key, text, rule, fix):
    """A number without a unit is the mistake that people make."""
    problem = refused(f"models: {{m: {{cmd: 'srv ${{PORT}}', {key}: {text}}}}}")[f"models.m.{key}"]
    assert rule in problem.rule
    assert fix in problem.fix


@pytest.mark.parametrize(
    ("text", "by_device"),
    [
        ("{0: 10GiB, 1: 8GiB}", {"0": 10 * GIB, "1": 8 * GIB}),
        ("{1: 8GiB}", {"1": 8 * GIB}),
        ("{0: 10GiB, 1: 0}", {"0": 10 * GIB, "1": 0}),
        ("{GPU-1f2e3d4c: 8GiB}", {"GPU-1f2e3d4c": 8 * GIB}),
    ],
)
def test_by_device(model, text, by_device):
    """A need may be said device by device, by number or UUID; the whole is their sum."""
    found = model(f"{CMD}\nvram: {text}")
    assert (found.vram_bytes, found.vram_by_device) == (sum(by_device.values()), by_device)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{}", "must name at least one device"),
        ("{gpu0: 10GiB}", "`gpu0` is no device"),
        ("{-1: 10GiB}", "`-1` is no device"),
        ("{0: 10GiB, 1: 10}", "device 1: 10 bytes are too few"),
        ("{GPU-1f2e3d4c: [1]}", "device GPU-1f2e3d4c: must be bytes or a text like"),
    ],
)
def test_what_is_no_need_of_devices(refused, text, rule):
    """Devices have numbers or UUIDs, and each an amount."""
    problem = refused(f"models: {{m: {{cmd: 'srv ${{PORT}}', vram: {text}}}}}")["models.m.vram"]
    assert rule in problem.rule


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (512 << 20, "512MiB"), (GIB, "1GiB"), (GIB * 86 // 5, "17.2GiB"), (3 << 40, "3TiB"), (1023, "1023")],
)
def test_shown(amount, text):
    """In the largest unit that is reached."""
    assert render_bytes(amount) == text


def test_devices_shown():
    """Each device, or the whole."""
    assert render_device_memory(DeviceMemory(3 * GIB, {"0": GIB, "1": 2 * GIB})) == "{0: 1GiB, 1: 2GiB}"
    assert render_device_memory(DeviceMemory(3 * GIB)) == "3GiB"


@given(st.integers(1, 1023), st.sampled_from(["MiB", "GiB"]))
def test_shown_amounts_can_be_written(number, unit):
    """What is shown of a round amount is what its author wrote."""
    assert render_bytes(number << {"MiB": 20, "GiB": 30}[unit]) == f"{number}{unit}"
