"""Who takes part: no proxy at all, ourselves with and without uvloop, and any other proxy on this machine."""

import contextlib
import importlib.util
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.proxy.machine import Cores, Ports, cpu_microseconds, family, listener_of, resident_megabytes

KEY = "bench-key"
LATE_MILLISECONDS = (310, 620, 870, 1130, 1490)
_PORTS_OF_MODELS = 20
_START_SECONDS = 30.0
_SERVE = "--config {config} --listen 127.0.0.1:{port}"
_OURS = f"{shlex.quote(sys.executable)} -m llama_swap {_SERVE}"
# A module that is None in sys.modules cannot be imported.
_WITHOUT_UVLOOP = "import sys; sys.modules['uvloop'] = None; from llama_swap.cli import main; sys.exit(main())"
_OURS_ASYNCIO = f"{shlex.quote(sys.executable)} -c {shlex.quote(_WITHOUT_UVLOOP)} {_SERVE}"


@dataclass(frozen=True, slots=True)
class Setting:
    """Where everything is.

    Attributes:
        upstream: the program; ``upstream_port`` is one that runs for those that start none themselves.
    """

    folder: Path
    cores: Cores
    upstream: Path
    upstream_port: int
    ports: Ports


@dataclass(slots=True, eq=False)
class Candidate:
    """One way to the upstream.

    Attributes:
        command: with its placeholders; "" where it runs already.
        pids: of its processes; empty for no proxy at all.
    """

    name: str
    command: str = ""
    port: int = 0
    pids: tuple[int, ...] = ()
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def starts_models(self) -> bool:
        """Whether it starts the upstreams itself."""
        return "{config}" in self.command

    def look_again(self) -> None:
        """Take note of the processes that it has now."""
        if self.pids:
            self.pids = tuple(family(self.pids[0]))

    def cpu_microseconds(self) -> float:
        """CPU time so far."""
        return cpu_microseconds(list(self.pids))

    def resident_megabytes(self) -> float:
        """Memory now."""
        return resident_megabytes(list(self.pids))


def ourselves() -> list[Candidate]:
    """Ours; on asyncio's loop too where uvloop is installed, which is taken otherwise."""
    if importlib.util.find_spec("uvloop") is None:
        return [Candidate("ours asyncio", _OURS)]
    return [Candidate("ours", _OURS), Candidate("ours asyncio", _OURS_ASYNCIO)]


def running(name: str, url: str) -> Candidate:
    """A proxy that runs already."""
    port = urlsplit(url).port or 80
    pid = listener_of(port)
    return Candidate(name, port=port, pids=(pid,))


def start(candidate: Candidate, setting: Setting) -> float:
    """Start a candidate and wait until it accepts connections; returns how many milliseconds that took."""
    candidate.port = setting.ports.take()
    words = [_fill(word, candidate, setting) for word in shlex.split(candidate.command)]
    log = (setting.folder / f"{candidate.name}.log").open("ab")
    started = time.monotonic()
    candidate.process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=_environment(setting),
        preexec_fn=lambda: os.sched_setaffinity(0, {setting.cores.proxy}),  # noqa: PLW1509 - the bench has one thread
    )
    log.close()
    candidate.pids = (candidate.process.pid,)
    if not _accepts(candidate.process, candidate.port):
        output = Path(log.name).read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"{candidate.name} does not accept connections:\n{output[-2000:]}")
    return (time.monotonic() - started) * 1000


def _environment(setting: Setting) -> dict[str, str]:
    """Ours, with Python's bytecode kept as where the service is installed: else each start would compile everything."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(setting.folder / "bytecode")}


def _accepts(process: "subprocess.Popen[bytes]", port: int) -> bool:
    """Wait for a listener; False where the process has ended or takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        threading.Event().wait(0.0005)
    return False


def start_upstream(setting: Setting) -> "subprocess.Popen[bytes]":
    """An upstream for those that start none themselves."""
    command = [str(setting.upstream), f"port={setting.upstream_port}", f"core={setting.cores.load}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    if not _accepts(process, setting.upstream_port):
        raise RuntimeError("the upstream does not start")
    return process


def stop(candidate: Candidate) -> None:
    """End what :func:`start` has started, with everything below it."""
    process = candidate.process
    if process is None:
        return
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    candidate.process = None


def _fill(word: str, candidate: Candidate, setting: Setting) -> str:
    """Put in the placeholders; ``{file:PATH}`` is a copy of a file with its placeholders filled in."""

    def copy(match: re.Match[str]) -> str:
        source = Path(match[1])
        target = setting.folder / f"{candidate.name}-{source.name}"
        # No recursion without end: a copied file has no {file:...} of its own.
        target.write_text(_values(source.read_text(encoding="utf-8"), candidate, setting), encoding="utf-8")
        return str(target)

    return _values(re.sub(r"\{file:([^}]+)\}", copy, word), candidate, setting)


def _values(text: str, candidate: Candidate, setting: Setting) -> str:
    if "{config}" in text:
        config = setting.folder / f"{candidate.name}-{candidate.port}.yaml"
        config.write_text(json.dumps(_configuration(setting), indent=1), encoding="utf-8")
        text = text.replace("{config}", str(config))
    known = {
        "{port}": candidate.port,
        "{upstream}": f"127.0.0.1:{setting.upstream_port}",
        "{folder}": setting.folder,
    }
    for placeholder, value in known.items():
        text = text.replace(placeholder, str(value))
    return text


def _configuration(setting: Setting) -> dict[str, object]:
    """What llama-swap and we are given, as JSON, which is YAML: a key, and models that exclude one another."""

    def model(options: str = "") -> dict[str, object]:
        command = f"{setting.upstream} port=${{PORT}} core={setting.cores.load} {options}"
        return {"cmd": command.strip(), "concurrencyLimit": 1000}

    models = {name: model() for name in ("m", "a", "b")}
    models |= {f"late{i}": model(f"ready_after_ms={late}") for i, late in enumerate(LATE_MILLISECONDS)}
    return {
        "apiKeys": [KEY],
        "logLevel": "info",
        "healthCheckTimeout": 60,
        "startPort": setting.ports.take(_PORTS_OF_MODELS),
        "models": models,
        "groups": {"one": {"swap": True, "exclusive": True, "members": list(models)}},
    }
