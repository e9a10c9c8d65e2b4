"""Running the load generator, and single requests from here."""

import http.client
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.proxy.candidates import KEY

Figures = dict[str, float]
_PATH = "/v1/chat/completions"
_SECONDS = 150.0


class LoadError(Exception):
    """The load generator did not get the answers it asked for."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load generator on its core."""

    program: Path
    core: int

    def start(self, port: int, **options: Any) -> "subprocess.Popen[str]":
        """Begin to send requests; the options are those of load.c."""
        given = {"core": self.core, "key": KEY, **options}
        words = [f"{name}={value}" for name, value in given.items()]
        command = [str(self.program), f"port={port}", *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, process: "subprocess.Popen[str]") -> Figures:
        """What came of it; raises LoadError where an answer was missing or was no 200."""
        out, problems = process.communicate(timeout=_SECONDS)
        if process.returncode or not out:
            raise LoadError(f"status {process.returncode}: {problems.strip()[-300:]}")
        figures: Figures = json.loads(out)
        if figures["failed"]:
            raise LoadError(f"{figures['failed']:.0f} failed: {problems.strip()[-300:]}")
        return figures

    def run(self, port: int, **options: Any) -> Figures:
        """Send requests and wait for the end."""
        return self.finish(self.start(port, **options))


class Client:
    """One keep-alive connection from here."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, model: str) -> tuple[float, dict[str, Any]]:
        """One small request; its milliseconds and its answer."""
        body = json.dumps({"messages": [{"role": "user", "content": "x" * 800}], "model": model, "stream": False})
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "X-Bench": "json 1024"}
        started = time.monotonic()
        self._connection.request("POST", _PATH, body, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        took = (time.monotonic() - started) * 1000
        if answer.status != 200:
            raise LoadError(f"{answer.status}: {text[:300]!r}")
        return took, json.loads(text)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
