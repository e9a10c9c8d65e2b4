"""What all tests share: settings of hypothesis, and ports that are really free."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from llama_swap.config.ports import port_is_free

# Deadlines per example fail on a machine that is busy with the other half of the suite; tests bound their own time.
settings.register_profile("suite", deadline=None, print_blob=True)
settings.load_profile("suite")

# Below the range that Linux gives to outgoing connections, so that nothing takes a port between the choice and its use.
_FIRST_PORT = 20000
_PORTS_OF_A_WORKER = 2000


def _ports() -> Iterator[int]:
    """Ports of this worker alone, starting at another one in every run."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    offset = os.getpid() % (_PORTS_OF_A_WORKER // 100) * 100
    first = _FIRST_PORT + worker * _PORTS_OF_A_WORKER
    while True:
        for step in range(_PORTS_OF_A_WORKER):
            yield first + (offset + step) % _PORTS_OF_A_WORKER


@pytest.fixture(scope="session")
def free_port() -> Callable[..., int]:
    """``free_port()`` is a port that nobody listens on; ``free_port(10)`` is the first of ten in a row."""
    ports = _ports()

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
