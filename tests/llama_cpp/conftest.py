"""The real service in front of real llama.cpp servers, driven from outside: command line, HTTP, signals, /proc.

Nothing waits by sleeping: the service's READY=1 says that it serves, a pidfd that a process has ended.
"""

import contextlib
import http.client
import json
import os
import queue
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from llama_swap.demo.folder import embedded_command
from llama_swap.demo.tiny_gguf import TinyModel, write_tiny_model

ALPHA = TinyModel("alpha", "Alpha answers with these few words, always in one order.", seed=1)
BETA = TinyModel("beta", "Beta has another sentence: other weights make a different text.", seed=2)
# Words in a context of this size take llama.cpp far longer than any test: a request for them is only ended by somebody.
CONTEXT_TOKENS = 32768

_START_SECONDS = 20.0


class Upstream(NamedTuple):
    """A llama.cpp server to test with."""

    name: str
    command: list[str]


def _upstreams() -> list[Upstream]:
    """The embedded server, and a llama-server where there is one."""
    found = shutil.which(os.environ.get("LLAMA_SERVER") or "llama-server")
    real = [Upstream("llama-server", [str(Path(found).absolute())])] if found else []
    return [Upstream("embedded", embedded_command()), *real]


def pytest_report_header() -> str:
    """Say which servers are tested."""
    return f"llama.cpp servers: {', '.join(upstream.name for upstream in _upstreams())}"


@pytest.fixture(scope="session", params=_upstreams(), ids=lambda upstream: upstream.name)
def upstream(request) -> Upstream:
    """Each llama.cpp server found here."""
    return request.param


@pytest.fixture(scope="session")
def gguf(tmp_path_factory) -> dict[str, Path]:
    """The files of the two models, by name."""
    folder = tmp_path_factory.mktemp("gguf")
    return {model.name: write_tiny_model(folder / f"{model.name}.gguf", model) for model in (ALPHA, BETA)}


@pytest.fixture(scope="session")
def sentence() -> dict[str, str]:
    """What each model answers."""
    return {model.name: model.sentence for model in (ALPHA, BETA)}


@pytest.fixture(scope="session")
def model(upstream, gguf):
    """``model("alpha", "--embeddings", ttl=1)``: a model entry of a configuration; a path names any other file."""

    def entry(name: str | Path, *flags: str, **keys: Any) -> dict[str, Any]:
        argv = [*upstream.command, "--model", str(gguf.get(name, name)), "-c", str(CONTEXT_TOKENS), "-t", "1", *flags]
        return {"cmd": f"{shlex.join(argv)} --alias ${{MODEL_ID}} --host 127.0.0.1 --port ${{PORT}}", **keys}

    return entry


class Process:
    """A process that is not our child, held by a file descriptor so that its number cannot come to mean another."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def wait_exit(self, seconds: float) -> bool:
        """Whether it has ended; waits for that at most so long."""
        return bool(select.select([self._fd], [], [], seconds)[0])

    def send(self, number: int) -> None:
        """Send a signal."""
        signal.pidfd_send_signal(self._fd, number)

    @property
    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descendants(self) -> dict[int, list[str]]:
        """Command lines of the living processes below it, by number."""
        parents = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    parents[int(entry.name)] = int(parent)
        below = {self.pid}
        while more := {pid for pid, parent in parents.items() if parent in below and pid not in below}:
            below |= more
        return {pid: argv for pid in below - {self.pid} if (argv := _argv(pid))}


def _argv(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").rstrip("\0").split("\0")
    return []


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.text)

    def content(self) -> str:
        """The text of a chat completion, streamed or not."""
        if self.headers.get("Content-Type", "").startswith("text/event-stream"):
            return "".join(event["choices"][0]["delta"].get("content") or "" for event in self.events())
        return str(self.json()["choices"][0]["message"]["content"])

    def events(self) -> list[Any]:
        """The data of a stream of events, without the closing mark."""
        data = [line.removeprefix("data: ") for line in self.text.splitlines() if line.startswith("data: ")]
        return [json.loads(text) for text in data if text != "[DONE]"]


class Stream:
    """A chat completion that is being streamed and goes on until it is left or its limit is reached."""

    def __init__(self, port: int, body: Mapping[str, Any]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self.text = self._response.read1(65536).decode()

    def read(self) -> Answer:
        """All that comes, whether it ends well or breaks off."""
        with contextlib.closing(self._connection):
            try:
                self.text += self._response.read().decode()
            except http.client.IncompleteRead as error:
                self.text += error.partial.decode()
        return Answer(200, dict(self._response.headers), self.text)

    def leave(self) -> None:
        """Close the connection without reading on."""
        self._connection.sock and self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._response.close()
        self._connection.close()


class Notices:
    """What a service tells its manager (sd_notify), taken off the socket at once as systemd does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while message := self._socket.recv(4096):
            for line in message.split(b"\n"):
                self._lines.put(line)

    def wait(self, line: bytes, seconds: float) -> bool:
        """Whether the line comes in time; the lines before it are forgotten."""
        end = time.monotonic() + seconds
        with contextlib.suppress(queue.Empty):
            while self._lines.get(timeout=max(0.0, end - time.monotonic())) != line:
                pass
            return True
        return False

    def close(self) -> None:
        """End the reader; once is enough."""
        if self._reader.is_alive():
            self._socket.shutdown(socket.SHUT_RDWR)
            self._reader.join()
            self._socket.close()


class Service:
    """One running ``llama-swap`` and requests to it."""

    def __init__(self, folder: Path, ports: Any, config: Mapping[str, Any]) -> None:
        self.port = port = ports()
        self._start_port = ports(10)
        self.base_url = f"http://127.0.0.1:{port}"
        self._config = folder / "config.yaml"
        self.write(config)
        self._notices = Notices(folder / "notify")
        self.log = folder / "log"
        argv = [sys.executable, "-m", "llama_swap", "--config", str(self._config), "--listen", f"127.0.0.1:{port}"]
        env = {**os.environ, "NOTIFY_SOCKET": str(self._notices.path)}
        with self.log.open("wb") as log:
            self._child = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
        self.process = Process(self._child.pid)

    def write(self, config: Mapping[str, Any]) -> None:
        """Put a configuration in the file; the service does not know yet."""
        self._config.write_text(yaml.safe_dump({"startPort": self._start_port, **config}), encoding="utf-8")

    def wait_ready(self) -> "Service":
        """Wait until the service says that it serves, after its start or a reload."""
        end = time.monotonic() + _START_SECONDS
        while not self._notices.wait(b"READY=1", 0.5):
            if self._child.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the service did not get ready:\n{self.log.read_text(encoding='utf-8')}")
        return self

    def reload(self, config: Mapping[str, Any]) -> None:
        """Change the configuration and wait until it is in force."""
        self.write(config)
        self.process.send(signal.SIGHUP)
        assert self._notices.wait(b"RELOADING=1", _START_SECONDS), "the service does not reload"
        self.wait_ready()

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read().decode())

    def chat(self, model: str, **keys: Any) -> Answer:
        """A chat completion; ``stream=True`` streams it."""
        return self.call("POST", "/v1/chat/completions", _chat_body(model, keys))

    def endless(self, model: str, tokens: int = CONTEXT_TOKENS - 100) -> Stream:
        """A stream of so many tokens, whose first ones have arrived."""
        return Stream(self.port, _chat_body(model, {"stream": True, "ignore_eos": True, "max_tokens": tokens}))

    def running(self) -> dict[str, str]:
        """State by model, of the models that have one."""
        return {entry["model"]: entry["state"] for entry in self.call("GET", "/running").json()["running"]}

    def wait_gone(self, model: str) -> None:
        """Wait until the service has seen the end of the model's process."""
        end = time.monotonic() + _START_SECONDS
        while model in self.running():
            assert time.monotonic() < end, f"{model} is still {self.running()}"

    def upstream(self, model: str) -> Process:
        """The process that serves the model."""
        below = self.process.descendants()
        pids = [pid for pid, argv in below.items() if any(word.endswith(f"/{model}.gguf") for word in argv)]
        assert len(pids) == 1, f"{model}: {below}"
        return Process(pids[0])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; returns the exit code."""
        if self._child.poll() is None:
            self._child.send_signal(number)
        try:
            return self._child.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            pytest.fail(f"the service did not stop:\n{self.log.read_text(encoding='utf-8')[-4000:]}")
        finally:
            self._notices.close()


def _chat_body(model: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Who are you?"}], **keys}


@contextlib.contextmanager
def _running(folder: Path, ports: Any, config: Mapping[str, Any]) -> Iterator[Service]:
    service = Service(folder, ports, config)
    try:
        yield service.wait_ready()
    finally:
        below = service.process.descendants()
        service.stop()
        survivors = [argv for pid, argv in below.items() if _argv(pid) == argv]
        assert not survivors, f"left behind: {survivors}"


@pytest.fixture
def serve(tmp_path_factory, free_port):
    """``serve({"alpha": model("alpha")})`` starts a service; afterwards no process of it may be left."""
    with contextlib.ExitStack() as stack:

        def start(models: Mapping[str, Any], **keys: Any) -> Service:
            folder = tmp_path_factory.mktemp("service")
            return stack.enter_context(_running(folder, free_port, {"models": dict(models), **keys}))

        yield start


@pytest.fixture(scope="module")
def models(model) -> dict[str, Any]:
    """Two chat models and one for embeddings, none of them in a group."""
    embed = model("alpha", "--embeddings", "--pooling", "mean")
    return {"alpha": model("alpha", aliases=["first"]), "beta": model("beta"), "embed": embed}


@pytest.fixture(scope="module")
def service(tmp_path_factory, free_port, models):
    """A service shared by the tests of one file."""
    with _running(tmp_path_factory.mktemp("service"), free_port, {"models": models}) as running:
        yield running


@pytest.fixture
def direct(upstream, gguf, free_port):
    """``direct("alpha")`` starts a llama.cpp server without the service in front; returns it, its port, its start."""
    children = []

    def start(name: str, *flags: str) -> tuple[subprocess.Popen[bytes], int, float]:
        port = free_port()
        argv = [*upstream.command, "-m", str(gguf[name]), "-c", str(CONTEXT_TOKENS), "-t", "1"]
        begin = time.monotonic()
        children.append(subprocess.Popen([*argv, "--port", str(port), *flags], stderr=subprocess.DEVNULL))
        return children[-1], port, begin

    yield start
    for child in children:
        child.kill()
        child.wait()
