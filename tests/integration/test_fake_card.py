"""The made-up card is as slow and as strict as a real one: what the memory tests rest on."""

import ctypes
import os
import subprocess
import sys
import threading

import pynvml
import pytest

from .conftest import FAKE, GIB


@pytest.fixture
def driver(nvml_library, monkeypatch):
    """``driver(card)`` is the real pynvml, asked what is on that card's devices: (free GiB, {pid: GiB})."""
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(nvml_library / "libnvidia-ml.so.1")))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})

    def ask(card):
        monkeypatch.setenv("NVML_STUB", card.env["NVML_STUB"])
        pynvml.nvmlInit()
        found = []
        for number in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2)
            assert memory.used + memory.free + memory.reserved == memory.total
            uses = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
            found.append((memory.free / GIB, {use.pid: use.usedGpuMemory / GIB for use in uses}))
        return found

    return ask


def server(card, port, *flags, **env):
    """A fake server; returns once it has said something."""
    command = [sys.executable, "-S", FAKE, "--port", str(port), *flags]
    process = subprocess.Popen(
        command, env={**os.environ, **card.env, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return process, process.stdout.readline()


def end(process):
    """Kill it and return when it is gone."""
    process.kill()
    process.wait(10)
    process.stdout.close()


def test_a_server_takes_memory_and_the_driver_says_so(card, driver, free_port):
    """In two steps while it loads; the driver lists it by its process ID."""
    one = card(24, 12)
    process, line = server(one, free_port(), "--vram", "10GiB", "--vram-device", "0")
    assert line == b"server is listening\n"
    assert driver(one) == [(14, {process.pid: 10}), (12, {})]
    end(process)
    assert driver(one) == [(24, {}), (12, {})]


def test_memory_comes_back_slowly(card, driver, free_port):
    """After the end it is still listed, then no longer listed but not yet free, then free."""
    one = card(24)
    process, _ = server(one, free_port(), "--vram", "10GiB", "--vram-release", "0.4")
    end(process)
    seen, clock = [driver(one)[0]], threading.Event()
    while seen[-1] != (24, {}):
        clock.wait(0.005)
        seen.append(driver(one)[0])
    assert seen[0] == (14, {process.pid: 10})
    assert sorted(free for free, _ in seen) == [free for free, _ in seen]


def test_a_card_has_no_more_than_it_has(card, driver, free_port):
    """The second server gets nothing, says so in llama.cpp's words and ends; a foreign program counts as well."""
    one = card(24)
    one.foreign(gpu0=4)
    first, _ = server(one, free_port(), "--vram", "12GiB")
    second, line = server(one, free_port(), "--vram", "18GiB")
    assert b"cudaMalloc failed: out of memory" in line
    assert second.wait(10) == 1
    assert driver(one)[0][0] == 8
    end(first)
    end(second)


@pytest.mark.parametrize(("visible", "free"), [(None, [12, 6]), ("1", [24, -6]), ("uuid0", [6, 12])])
def test_a_server_splits_over_what_it_sees(card, driver, free_port, visible, free):
    """In proportion to what is free, as llama.cpp does; CUDA_VISIBLE_DEVICES by number or UUID hides the rest."""
    one = card(24, 12)
    env = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible.replace("uuid0", one.uuids[0])}
    process, line = server(one, free_port(), "--vram", "18GiB", **env)
    if min(free) < 0:
        assert b"out of memory" in line
    else:
        assert [left for left, _ in driver(one)] == free
    end(process)
