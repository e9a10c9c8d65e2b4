"""Real children: the fake server, shells and sleepers, started by a real launcher."""

import asyncio
import json
import os
import select
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llama_swap.process import ChildProcess, Launcher, LaunchSpec

FAKE_SERVER = Path(__file__).parents[1] / "fake_server.py"


@dataclass(slots=True)
class Run:
    """A launched child with what it printed and journalled."""

    port: int
    journal_file: Path
    child: ChildProcess = None
    lines: list[tuple[str, bytes]] = field(default_factory=list)
    spoke: asyncio.Event = field(default_factory=asyncio.Event)

    def journal(self, event: str) -> list[dict]:
        """The journalled events of one kind."""
        rows = map(json.loads, self.journal_file.read_text().splitlines()) if self.journal_file.exists() else []
        return [row for row in rows if row["event"] == event]

    def hear(self, stream: str, line: bytes) -> None:
        """Takes one line of output."""
        self.lines.append((stream, line))
        self.spoke.set()

    async def printed(self, is_enough: Callable[[list[bytes]], bool]) -> None:
        """Returns when the printed lines satisfy a condition."""
        async with asyncio.timeout(5):
            while not is_enough([line for _, line in self.lines]):
                self.spoke.clear()
                await self.spoke.wait()

    async def stop(self):
        """Asks it to end and waits until it is gone."""
        self.child.terminate()
        return await self.child.wait_exit()


@pytest.fixture
async def launcher() -> AsyncIterator[Launcher]:
    """An open launcher; its end kills what a test has left."""
    async with Launcher.open() as launcher:
        yield launcher


@pytest.fixture
def start(launcher, tmp_path):
    """Launches the fake server with the given flags, or any other command given as ``argv``."""

    async def start(*flags: str, argv=None, stop=None, endpoint="/health", port=None, **env: str) -> Run:
        port = port or free_port()
        journal = tmp_path / f"journal-{port}"
        fake = (sys.executable, "-S", str(FAKE_SERVER), "--port", str(port), "--journal", str(journal), *flags)
        run = Run(port, journal)
        spec = LaunchSpec(
            model="author/model:7b",
            argv=tuple(item.replace("@fake@", " ".join(fake)) for item in argv or fake),
            env={**os.environ, **env},
            stop_argv=stop,
            base_url=f"http://localhost:{port}",
            check_endpoint=endpoint,
            owned_port=port,
        )
        run.child = await launcher.launch(spec, on_output=run.hear)
        return run

    return start


@pytest.fixture
def is_gone() -> Callable[..., bool]:
    """Waits up to some seconds for the end of a process of anybody; a zombie counts as gone."""

    def is_gone(pid: int, seconds: float = 3.0) -> bool:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            return bool(select.select([fd], [], [], seconds)[0])
        finally:
            os.close(fd)

    return is_gone


def free_port() -> int:
    """A port that is free just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def unused_port() -> int:
    """A port that is free just now."""
    return free_port()
