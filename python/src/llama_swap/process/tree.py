"""Which processes belong to one child: itself and everything it started, wherever that has gone.

A process belongs when it is in the child's session or group, was started with the child's mark in its environment, was
seen below the child before, or descends from one that belongs. We are a child subreaper, so whatever is orphaned below
us becomes our child and the walk from ourselves finds it. What slips through: a process that empties its environment,
makes a session of its own and is orphaned, all before we look (a cgroup catches that too).
"""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from llama_swap.process.cgroup import Cgroup, memory_kills, own_cgroup
from llama_swap.process.procfs import ProcessStat, cgroup_of, children_of, environ_holds, read_stat

MARK_VARIABLE = "LLAMA_SWAP_INSTANCE"


class ProcessTree:
    """The processes of the child with process ID ``pid``, whose mark is ``token``, in ``cgroup`` if there is one."""

    __slots__ = ("_cgroup", "_memory_kills", "_seen", "_token", "pid")

    def __init__(self, pid: int, token: str, cgroup: Cgroup | None = None) -> None:
        self._cgroup = cgroup
        self.pid = pid
        self._token = token
        self._seen: set[tuple[int, int]] = set()
        self._memory_kills = memory_kills(self._memory_group())

    def members(self) -> list[ProcessStat]:
        """All of them now, the child itself and zombies included; remembers them."""
        found = self._find()
        self._seen = {(stat.pid, stat.start_ticks) for stat in found}
        return found

    def living(self) -> frozenset[int]:
        """The process IDs of those that run; unlike the rest, this may be asked in another thread."""
        return frozenset(stat.pid for stat in self._find() if not stat.is_zombie)

    def marks(self, pid: int) -> bool:
        """Whether a process, wherever it is, was started with the mark of this tree (``docker run -e``)."""
        return environ_holds(pid, MARK_VARIABLE, self._token)

    def _find(self) -> list[ProcessStat]:
        near = [stat for pid in children_of(os.getpid()) if (stat := read_stat(pid))]
        found: dict[int, ProcessStat] = {}
        _add_with_descendants(found, self._cgroup.members() if self._cgroup else [])
        _add_with_descendants(found, [stat.pid for stat in near if self.claims(stat)])
        # A zombie has no environment any more, but it is still in the session that it made for those we know.
        sessions = {stat.session for stat in found.values()}
        _add_with_descendants(found, [stat.pid for stat in near if stat.session in sessions])
        # One that changed its parent while we looked was in neither list of children.
        _add_with_descendants(found, [pid for pid, ticks in self._seen if _is_still(pid, ticks)])
        return list(found.values())

    def reap(self, *, spare: Collection[int]) -> list[ProcessStat]:
        """Reaps the members that have ended and that we adopted; returns those that still run.

        Args:
            spare: process IDs whose exit status somebody waits for.
        """
        running = []
        for stat in self.members():
            if not stat.is_zombie:
                running.append(stat)
            elif stat.parent == os.getpid() and stat.pid not in spare:
                with suppress(ChildProcessError):
                    os.waitpid(stat.pid, os.WNOHANG)
        return running

    def enter_cgroup(self, *, not_ours: Collection[int]) -> None:
        """Moves all members into the cgroup, and those that the child has started before it was moved itself.

        CLONE_INTO_CGROUP would leave no such moment, but subprocess cannot do it. A process of that moment descends
        from the child, or has already become an orphan, and so a new child of ours in the group that we are in.

        Args:
            not_ours: our children from before the launch.
        """
        moved: set[int] = set()
        while self._cgroup and (new := {stat.pid for stat in self.members()} | _newcomers(not_ours)) - moved:
            for pid in new - moved:
                self._cgroup.add(pid)
            moved |= new

    def is_short_of_memory(self) -> bool:
        """Whether the kernel has ended a process for want of memory since the start, as far as can be told apart."""
        return memory_kills(self._memory_group()) > self._memory_kills

    def _memory_group(self) -> Path | None:
        return self._cgroup.path if self._cgroup is not None else own_cgroup()

    def kill_cgroup(self) -> None:
        """SIGKILL to everything in the cgroup, if there is one."""
        if self._cgroup is not None:
            self._cgroup.kill()

    def close(self) -> None:
        """Removes the cgroup, once every member is gone."""
        if self._cgroup is not None:
            self._cgroup.remove()

    def claims(self, stat: ProcessStat) -> bool:
        """Whether a child of ours, own or adopted, belongs to this tree."""
        return (
            self.pid in (stat.pid, stat.session, stat.group)
            or (stat.pid, stat.start_ticks) in self._seen
            or self.marks(stat.pid)
        )


def _is_still(pid: int, start_ticks: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.start_ticks == start_ticks


def _newcomers(known: Collection[int]) -> set[int]:
    """Our children in foreign sessions that are not known and that nobody has put into another cgroup."""
    stats = [stat for pid in children_of(os.getpid()) if pid not in known and (stat := read_stat(pid))]
    own_session, own_cgroup = os.getsid(0), cgroup_of(os.getpid())
    return {stat.pid for stat in stats if stat.session != own_session and cgroup_of(stat.pid) == own_cgroup}


def _add_with_descendants(found: dict[int, ProcessStat], pids: list[int]) -> None:
    queue = list(pids)
    while queue:
        pid = queue.pop()
        if pid not in found and (stat := read_stat(pid)) is not None:
            found[pid] = stat
            queue += children_of(pid)


def marked(environment: Mapping[str, str], token: str) -> dict[str, str]:
    """The environment with our mark; the mark of a service that we ourselves run under stays in force."""
    outer = os.environ.get(MARK_VARIABLE)
    return {**environment, MARK_VARIABLE: f"{outer},{token}" if outer else token}
