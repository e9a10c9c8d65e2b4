"""A real `llama-swap` command with fake inference servers behind it, driven over HTTP."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from . import fake_card

FAKE = Path(__file__).with_name("fake_server.py")
GIB = 1 << 30
DRIVER_RESERVE = GIB // 2
COMMAND = Path(sys.executable).with_name("llama-swap")


class Service:
    """One running service and what its fake upstreams wrote into their journal.

    Attributes:
        http: a client for its address.
    """

    def __init__(self, directory, port):
        self.directory, self.port = directory, port
        self.config_path = directory / "config.yaml"
        self.output_path = directory / "output.log"
        self.journal_path = directory / "journal.jsonl"
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False)
        self.process = None

    def model(self, *flags, **keys):
        """A model entry whose command is the fake server with these flags."""
        command = f"{shlex.quote(sys.executable)} -S {FAKE} --port ${{PORT}} --name '${{MODEL_ID}}' "
        return {"cmd": command + " ".join(map(str, flags)), **keys}

    def write(self, config):
        """Put a configuration (object or text) into force for the next start or reload."""
        if isinstance(config, dict):
            config = yaml.safe_dump({"startPort": self.port + 1, **config})
        new = self.config_path.with_suffix(".new")
        new.write_text(config)
        new.replace(self.config_path)

    def start(self, *args, env=None):
        """Start the command and wait until it listens or exits."""
        command = [COMMAND, "--config", self.config_path, "--listen", f"127.0.0.1:{self.port}", *args]
        with self.output_path.open("ab") as out:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdout=out,
                stderr=out,
                # What the service learns of models goes into the test's folder, not into somebody's home.
                env={
                    **os.environ,
                    "FAKE_JOURNAL": str(self.journal_path),
                    "XDG_STATE_HOME": str(self.directory / "state"),
                    **(env or {}),
                },
                start_new_session=True,
            )
        self.wait_until(lambda: self.process.poll() is not None or self._answers())
        assert self.process.poll() is None, self.output()
        return self

    def _answers(self):
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def wait_until(self, condition, timeout=15.0):
        """Look every 10 ms until a condition of the outside world holds; returns its value."""
        end = time.monotonic() + timeout
        while not (value := condition()):
            assert time.monotonic() < end, f"not within {timeout} s; the service wrote:\n{self.output()}"
            time.sleep(0.01)  # noqa: TID251 - another process is observed, it has no event to wait for
        return value

    def chat(self, model, *, fake=None, headers=None, **body):
        """A chat request; ``fake`` scripts the upstream."""
        headers = {**(headers or {}), **({"X-Fake": json.dumps(fake)} if fake else {})}
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **body}
        return self.http.post("/v1/chat/completions", json=body, headers=headers)

    def echo(self, model, **keys):
        """What the upstream says arrived."""
        answer = self.chat(model, **keys)
        assert answer.status_code == 200, answer.text
        return answer.json()["echo"]

    def stream(self, model, *, fake=None, **body):
        """A streaming chat request, as a context manager."""
        body = {"model": model, "stream": True, "messages": [], **body}
        return self.http.stream("POST", "/v1/chat/completions", json=body, headers={"X-Fake": json.dumps(fake or {})})

    def states(self):
        """{model: state} of /running."""
        return {row["model"]: row["state"] for row in self.http.get("/running").json()["running"]}

    def journal(self, event=None, name=None):
        """Events of the fake upstreams, oldest first."""
        if not self.journal_path.exists():
            return []
        rows = [json.loads(line) for line in self.journal_path.read_text().splitlines() if line.endswith("}")]
        return [r for r in rows if event in (None, r["event"]) and name in (None, r["name"])]

    def output(self):
        """Everything the service printed."""
        return self.output_path.read_text(errors="replace") if self.output_path.exists() else ""

    def stop(self):
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def leftovers(self):
        """Upstream processes that are still alive."""
        return [row["pid"] for row in self.journal("start") if _alive(row["pid"])]

    def close(self):
        """End everything, whatever state it is in."""
        self.http.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for pid in self.leftovers():
            os.kill(pid, signal.SIGKILL)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Card:
    """The memory of made-up GPUs, as the driver tells it to the service and as its models take it.

    Attributes:
        env: what the service needs to see them.
        uuids: of the GPUs, in order.
    """

    def __init__(self, folder, library, gpus):
        self._folder = folder
        self._driver = folder / "driver"
        self._others = []
        self.uuids = [f"GPU-{number:08d}-0000-0000-0000-000000000000" for number in range(len(gpus))]
        self._rooms = [int(gib * GIB) for gib in gpus]
        rows = zip(self.uuids, self._rooms, strict=True)
        (folder / "devices").write_text("".join(f"{uuid} {room}\n" for uuid, room in rows))
        self.comes_back()
        self.memory = fake_card.Card(folder)
        self.env = {"NVML_STUB": str(self._driver), "FAKE_CARD": str(folder), "LD_LIBRARY_PATH": str(library)}

    def comes_back(self):
        """The driver is loaded (again)."""
        text = f"init 0\ncount {len(self.uuids)}\nholders {self._folder}\n"
        for number, (uuid, room) in enumerate(zip(self.uuids, self._rooms, strict=True)):
            total = room + DRIVER_RESERVE
            text += f"{number}.name Test GPU\n{number}.uuid {uuid}\n{number}.v2 1\n{number}.arch 8\n"
            text += f"{number}.total {total}\n{number}.reserved {DRIVER_RESERVE}\n"
        new = self._driver.with_suffix(".new")
        new.write_text(text)
        new.replace(self._driver)

    def vanishes(self):
        """The driver is unloaded; who has memory keeps it."""
        self._driver.unlink()

    def lists_nothing(self):
        """The cards are given to a virtual machine: the driver knows no error, only no card."""
        self._driver.write_text("init 0\ncount 0\n")

    def free(self, gpu=0):
        """GiB that nobody has."""
        return self.memory.free(gpu) / GIB

    def foreign(self, **taken):
        """Another program that takes GiB: ``foreign(gpu0=4)``; ``kill()`` ends it."""
        words = [f"{name.removeprefix('gpu')}={gib}GiB" for name, gib in taken.items()]
        command = [sys.executable, "-S", FAKE.with_name("fake_card.py"), *words]
        other = subprocess.Popen(command, env={**os.environ, **self.env}, stdout=subprocess.PIPE)
        self._others.append(other)
        assert other.stdout.readline() == b"taken\n"
        return other

    def close(self):
        """End the other programs."""
        for other in self._others:
            other.kill()
            other.wait(10)
            other.stdout.close()


@pytest.fixture
def card(tmp_path, nvml_library):
    """``card(24, 12)``: a machine with two GPUs of so many GiB; give its ``env`` to the service."""
    cards = []

    def make(*gpus):
        folder = tmp_path / f"card{len(cards)}"
        folder.mkdir()
        cards.append(Card(folder, nvml_library, gpus))
        return cards[-1]

    yield make
    for each in cards:
        each.close()


@pytest.fixture
def service(tmp_path, free_port):
    """A service that is not started yet; it and its upstreams are gone after the test."""
    instance = Service(tmp_path, free_port(20))
    yield instance
    instance.close()


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory, free_port):
    """The same for those tests of a file that need one configuration and leave nothing behind."""
    instance = Service(tmp_path_factory.mktemp("service"), free_port(20))
    yield instance
    instance.close()
