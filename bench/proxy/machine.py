"""What the bench needs of the machine: cores, the C compiler, and what the kernel accounts to a process."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from llama_swap.config.ports import port_is_free

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core does what: the load, the upstreams and the bench on one, the proxies on the other."""

    load: int
    proxy: int

    @classmethod
    def choose(cls) -> "Cores":
        """The first two cores that we may use; one for everything where there is no other."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[-1] if len(usable) < 2 else usable[1])


class NoCompilerError(Exception):
    """There is no C compiler on this machine."""


def compile_c(name: str, folder: Path) -> Path:
    """Compile one of our C files; returns the program."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompilerError("the bench needs a C compiler (cc)")
    program = folder / name
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
    return program


class Ports:
    """Ports that nobody listens on, below those that Linux gives to outgoing connections; none is given twice."""

    def __init__(self) -> None:
        # Somewhere else in each run, for tests and other benches look for ports at the same time.
        self._next = 25000 + os.getpid() * 40 % 6000

    def take(self, count: int = 1) -> int:
        """The first of some in a row."""
        while True:
            first, self._next = self._next, self._next + count
            if all(port_is_free(first + step) for step in range(count)):
                return first


def family(pid: int) -> list[int]:
    """A process and those it started, but not the upstreams."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True) if child.name() != UPSTREAM)]


def cpu_microseconds(pids: list[int]) -> float:
    """CPU time of all threads of these processes so far."""
    total = 0
    for pid in pids:
        for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(stat.read_text(encoding="ascii").split()[0])
    return total / 1000


def resident_megabytes(pids: list[int]) -> float:
    """Memory of these processes; pages that they share count for each."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) for pid in pids)
    return pages * PAGE_BYTES / 1e6


def listener_of(port: int) -> int:
    """The process that listens on a port."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return connection.pid
    raise LookupError(f"nobody listens on port {port}, or it is another user's process")


def describe() -> str:
    """The machine in one line."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.partition(": ")[2] for line in cpuinfo.splitlines() if line.startswith("model name")), "?")
    return f"{model}, {os.cpu_count()} cores, Linux {os.uname().release}, load {os.getloadavg()[0]:.1f}"
