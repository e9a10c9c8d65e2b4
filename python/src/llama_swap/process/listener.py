"""Who listens on a port: a child whose port somebody else has can never become ready, however well that one answers."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from llama_swap.process.procfs import every_pid, program_of, read_stat, socket_inodes

_LISTEN = "0A"  # TCP_LISTEN in include/net/tcp_states.h


@dataclass(frozen=True, slots=True)
class Listener:
    """A process that listens on a port."""

    pid: int
    program: str


def foreign_listener(port: int, *, own: Collection[int], before_ticks: int) -> Listener | None:
    """The process outside our child that has the port and was there before it.

    A later one is no rival but most likely a helper that the child had started for it (docker-proxy). What cannot be
    determined, such as a process of another user, counts as none.

    Args:
        port: a TCP port of this machine.
        own: the process IDs of the child and everything it started.
        before_ticks: when the child started, see :class:`llama_swap.process.procfs.ProcessStat`.
    """
    inodes = listening_inodes(port)
    for pid in own:
        inodes -= socket_inodes(pid)
    if not inodes:
        return None
    for pid in every_pid():
        if pid in own or not inodes & socket_inodes(pid):
            continue
        stat = read_stat(pid)
        if stat is not None and stat.start_ticks < before_ticks:
            return Listener(pid, program_of(pid))
    return None


def listening_inodes(port: int) -> set[int]:
    """The sockets that listen on a port, on any address, in our network namespace."""
    inodes: set[int] = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = Path(f"/proc/{os.getpid()}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, rows):
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(int(fields[9]))
    return inodes
