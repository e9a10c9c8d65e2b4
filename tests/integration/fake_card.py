"""The memory of a made-up card, as the processes that take it see it; the driver's side is ``nvml_stub.c``.

Only the standard library: the fake server and the foreign program use it. A process takes memory by writing the file
``FOLDER/PID`` and needs nothing to give it back: its end does. The folder is named by ``FAKE_CARD``; the file
``devices`` in it has a line for each device: its UUID and how many bytes there are for programs.

As a program (``fake_card.py GPU=BYTES ...``) it is a foreign one, a game for example: it takes that much, prints
``taken`` and keeps it until it is ended.
"""
# ruff: noqa: D102, D103, T201  (the names say it; the line is what the test waits for)

import fcntl
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


class OutOfMemory(Exception):  # noqa: N818  (the driver's words)
    """The card has not as much left."""


def size(text):
    """``10GiB`` in bytes."""
    unit = text.lstrip("0123456789.")
    return int(float(text.removesuffix(unit)) * UNITS[unit])


class Card:
    """The memory of all devices in a folder."""

    def __init__(self, folder):
        self.folder = Path(folder)
        rows = [line.split() for line in (self.folder / "devices").read_text().splitlines()]
        self.uuids = [uuid for uuid, _ in rows]
        self.room = [int(room) for _, room in rows]

    def visible(self, environ=os.environ):
        """The numbers of the devices that a CUDA program sees (CUDA_VISIBLE_DEVICES: UUIDs or numbers)."""
        named = environ.get("CUDA_VISIBLE_DEVICES")
        if named is None:
            return list(range(len(self.uuids)))
        seen = []
        for name in named.split(","):
            known = self.uuids.index(name) if name in self.uuids else int(name) if name.isdecimal() else -1
            if not 0 <= known < len(self.uuids):
                break  # CUDA takes none of those behind one that it does not know
            seen.append(known)
        return seen

    def taken_by(self, pid):
        """Device -> bytes, as the process wrote it."""
        return self._parse(pid)[0]

    def _parse(self, pid):
        taken, release = {}, 0.0
        try:
            text = (self.folder / str(pid)).read_text()
        except FileNotFoundError:
            return taken, release
        for name, value in (line.split() for line in text.splitlines()):
            if name == "release":
                release = float(value)
            else:
                taken[int(name)] = int(value)
        return taken, release

    def pids(self):
        return [int(entry.name) for entry in self.folder.iterdir() if entry.name.isdecimal()]

    def free(self, device):
        """Bytes that nobody has now; what a dead process still has is taken."""
        return self.room[device] - sum(self._left(pid).get(device, 0) for pid in self.pids())

    def _left(self, pid):
        taken, release = self._parse(pid)
        if is_alive(pid):
            return taken
        marker = self.folder / f"{pid}.dead"
        try:
            age = time.monotonic() - float(marker.read_text())
        except (FileNotFoundError, ValueError):
            age = 0.0
        return {} if age >= release else taken

    @contextmanager
    def _alone(self):
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def take(self, wanted, release=0.0):
        """Take memory in addition to what this process has; all of it or nothing.

        Args:
            wanted: device -> bytes.
            release: seconds that the driver needs to clean up after the end of this process.
        """
        with self._alone():
            own = self.taken_by(os.getpid())
            for device, more in wanted.items():
                if more > self.free(device):
                    raise OutOfMemory(f"{more >> 20} MiB on device {device}, {self.free(device) >> 20} MiB free")
                own[device] = own.get(device, 0) + more
            new = self.folder / f".{os.getpid()}"
            new.write_text("".join(f"{d} {n}\n" for d, n in own.items()) + f"release {release}\n")
            new.rename(self.folder / str(os.getpid()))

    def split(self, total, devices):
        """A size divided over devices in proportion to what is free on each, as llama.cpp does it."""
        free = {device: max(1, self.free(device)) for device in devices}
        return {device: total * room // sum(free.values()) for device, room in free.items()}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def main():
    card = Card(os.environ["FAKE_CARD"])
    card.take({int(device): size(amount) for device, amount in (word.split("=") for word in sys.argv[1:])})
    print("taken", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
