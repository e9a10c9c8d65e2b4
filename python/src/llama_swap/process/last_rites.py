"""A program of its own, run by the guardian: end every child of a service that was killed.

Usage: ``last_rites.py TOKEN REGISTRY_FD``. Waits for the end of stdin first (``bye`` on it: nothing to do). Uses as
little of the standard library as it can: it starts when memory may be short, and must not depend on the service's
packages.
"""

import os
import signal
import sys
import time

MARK = b"LLAMA_SWAP_INSTANCE="
QUIET_ROUNDS = 3
ROUND_SECONDS = 0.02
LIMIT_SECONDS = 30.0


def read(path: str) -> bytes:
    """A file of /proc; empty when the process is gone or not ours."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  (pathlib would double the start-up time)
            return file.read()
    except OSError:
        return b""


def stat_of(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the state on: state, parent, group, session ..., start time at 19."""
    text = read(f"/proc/{pid}/stat")
    return text[text.rindex(b")") + 2 :].split() if b")" in text else []


def victims(token: bytes, wards: list[tuple[int, bytes]]) -> set[int]:
    """Every living process that belongs to the service's children."""
    names = os.listdir("/proc")  # noqa: PTH208  (as above)
    stats = {int(name): stat_of(int(name)) for name in names if name.isdigit()}
    living = {pid: stat for pid, stat in stats.items() if stat and stat[0] not in b"ZX" and pid != os.getpid()}
    sessions = {pid for pid, ticks in wards if pid not in stats or stats[pid][19:20] == [ticks]}
    found = {
        pid
        for pid, stat in living.items()
        if int(stat[3]) in sessions or int(stat[2]) in sessions or is_marked(pid, token)
    }
    while below := {pid for pid, stat in living.items() if int(stat[1]) in found} - found:
        found |= below
    return found


def is_marked(pid: int, token: bytes) -> bool:
    """Whether the process was started below the service."""
    return any(entry.startswith(MARK) and token in entry for entry in read(f"/proc/{pid}/environ").split(b"\0"))


def kill_cgroup(folder: str) -> None:
    """Ends a whole cgroup in one step."""
    try:
        with open(f"{folder}/cgroup.kill", "w") as file:  # noqa: PTH123  (as above)
            file.write("1")
    except OSError:
        return


def remove_cgroup(folder: str) -> None:
    """Removes the empty cgroup."""
    try:
        os.rmdir(folder)  # noqa: PTH106  (as above)
    except OSError:
        return


def kill_everything(token: bytes, registry: bytes) -> None:
    """Kills until nothing has been left for some rounds: what is being killed may still be starting others."""
    rows = [row.split(b" ", 2) for row in registry.splitlines()]
    wards = [(int(pid), ticks) for pid, ticks, _ in rows]
    cgroups = [folder.decode() for _, _, folder in rows if folder]
    for folder in cgroups:
        kill_cgroup(folder)
    quiet, end = 0, time.monotonic() + LIMIT_SECONDS
    while quiet < QUIET_ROUNDS and time.monotonic() < end:
        found = victims(token, wards)
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:  # gone meanwhile, or another user's
                continue
        quiet = 0 if found else quiet + 1
        time.sleep(ROUND_SECONDS)  # noqa: TID251  (nothing to wait on: these are nobody's children)
    for folder in cgroups:
        remove_cgroup(folder)


def main() -> None:
    """Waits for the end of the service, then does what has to be done."""
    if sys.stdin.buffer.read().startswith(b"bye"):
        return
    kill_everything(sys.argv[1].encode(), os.pread(int(sys.argv[2]), 1 << 20, 0))


if __name__ == "__main__":
    main()
