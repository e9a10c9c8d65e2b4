"""What all tests share: settings of hypothesis, and ports that are really free."""

import contextlib
import itertools
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from llama_swap.config.ports import port_is_free

# Deadlines per example fail on a machine that is busy with the other half of the suite; tests bound their own time.
settings.register_profile("suite", deadline=None, print_blob=True)
settings.load_profile("suite")

# Below the ports that Linux gives to outgoing connections, so that nothing takes one between the choice and its use.
_RANGES = [range(first, first + 1000) for first in range(20000, 32000, 1000)]


@pytest.fixture(scope="session")
def own_ports() -> Iterator[range]:
    """Ports that no other process of a test run on this machine gives away.

    Whoever has bound the first one of a range has all of it.
    """
    with socket.socket() as mark:
        free = next((ports for ports in _RANGES if _takes(mark, ports[0])), None)
        if free is None:
            pytest.fail(f"{len(_RANGES)} processes run tests on this machine already")
        yield free[1:]


def _takes(mark: socket.socket, port: int) -> bool:
    with contextlib.suppress(OSError):
        mark.bind(("127.0.0.1", port))
        return True
    return False


@pytest.fixture(scope="session")
def free_port(own_ports: range) -> Callable[..., int]:
    """``free_port()`` is a port that nobody listens on; ``free_port(10)`` is the first of ten in a row."""
    ports = itertools.cycle(own_ports)

    def choose(count: int = 1) -> int:
        block: list[int] = []
        while len(block) < count:
            port = next(ports)
            follows = not block or port == block[-1] + 1
            block = [*(block if follows else []), port] if port_is_free(port) else []
        return block[0]

    return choose


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ``libnvidia-ml.so.1`` that answers from a file (see ``unit/gpu/nvml_stub.c``)."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the stand-in for the driver's library")
    target = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-w", "-Wl,-soname,libnvidia-ml.so.1"]
    source = Path(__file__).with_name("unit") / "gpu" / "nvml_stub.c"
    subprocess.run([compiler, *flags, "-o", target, source], check=True)
    return target.parent
