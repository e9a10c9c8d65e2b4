"""The machine's memory from files that look like those of /proc and of control groups."""

import os

import pytest

from llama_swap.gpu.host import HostMemory, ProcessMemory, read_host, read_processes

GIB = 1024**3
MEMINFO = f"""\
MemTotal:       {64 * GIB // 1024} kB
MemFree:  1 kB
MemAvailable:   {40 * GIB // 1024} kB
HugePages_Total: 0
"""


@pytest.fixture
def proc(tmp_path):
    """A procfs of a machine with 64 GiB, 40 of them to be had."""
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "meminfo").write_text(MEMINFO)
    return folder


def group_of(tmp_path, **files):
    """A control group inside another; the files are those of the outer one."""
    inner = tmp_path / "unit" / "service"
    inner.mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / "unit" / name.replace("_", ".", 1)).write_text(text)
    return inner


def test_a_machine_without_limits(proc, tmp_path):
    """What the kernel says; a group without the memory controller has no files."""
    assert read_host(None, proc) == HostMemory(64 * GIB, 40 * GIB)
    assert read_host(group_of(tmp_path), proc) == HostMemory(64 * GIB, 40 * GIB)


def test_a_limit_of_the_unit(proc, tmp_path):
    """MemoryMax of the unit around us is the whole of it; cached files in it can be had."""
    group = group_of(
        tmp_path,
        memory_max=f"{16 * GIB}\n",
        memory_high="max\n",
        memory_current=f"{10 * GIB}\n",
        memory_stat=f"anon {6 * GIB}\ninactive_file {3 * GIB}\nactive_file {1 * GIB}\nworkingset_refault_file 9\n",
    )
    assert read_host(group, proc) == HostMemory(16 * GIB, 10 * GIB)


def test_the_smaller_of_two_limits_counts(proc, tmp_path):
    """MemoryHigh slows a unit down before MemoryMax ends it."""
    group = group_of(
        tmp_path, memory_max=f"{16 * GIB}\n", memory_high=f"{8 * GIB}\n", memory_current=f"{9 * GIB}\n", memory_stat=""
    )
    assert read_host(group, proc) == HostMemory(8 * GIB, 0)


def test_a_limit_above_the_machine(proc, tmp_path):
    """Changes nothing."""
    group = group_of(tmp_path, memory_max=f"{1000 * GIB}", memory_current="0", memory_stat="")
    assert read_host(group, proc) == HostMemory(64 * GIB, 40 * GIB)


def test_a_hidden_machine(tmp_path):
    """The ProcSubset=pid of systemd hides meminfo: unknown, not zero."""
    assert read_host(None, tmp_path) is None


def test_processes(tmp_path):
    """Mapped files are resident but not held; what is gone counts nothing."""
    for pid, anonymous, shared, resident in ((5, 100, 20, 500), (6, 1, 0, 2)):
        (tmp_path / str(pid)).mkdir()
        lines = (
            "Name:\tserver",
            f"VmRSS:\t  {resident} kB",
            f"RssAnon:\t{anonymous} kB",
            f"RssShmem:\t{shared} kB",
            "",
        )
        (tmp_path / str(pid) / "status").write_text("\n".join(lines))
    assert read_processes([5, 6, 7], tmp_path) == ProcessMemory(121 * 1024, 502 * 1024)


def test_this_machine():
    """The real files are understood."""
    host = read_host()
    assert 0 < host.available_bytes <= host.total_bytes
    used = read_processes([os.getpid()])
    assert 1 << 20 < used.held_bytes < used.resident_bytes
