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

FAKE = Path(__file__).with_name("fake_server.py")
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
                env={**os.environ, "FAKE_JOURNAL": str(self.journal_path), **(env or {})},
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


@pytest.fixture
def service(tmp_path, free_port):
    """A service that is not started yet; it and its upstreams are gone after the test."""
    instance = Service(tmp_path, free_port(20))
    yield instance
    instance.close()
