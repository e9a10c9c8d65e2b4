"""A control group of its own for each child, where cgroup v2 is delegated to us (systemd ``Delegate=yes``).

Why: ``cgroup.kill`` ends a whole tree in one step, whatever its members did to their sessions, groups, environments and
parents. Without delegation everything works by :mod:`llama_swap.process.tree` alone.

systemd marks a delegated group with the extended attribute ``user.delegate`` (``trusted.delegate`` in older versions,
readable by root alone). Write permission is not enough to go by: root may write everywhere, yet systemd owns the tree.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

LEAF = "service"
_DELEGATE_ATTRIBUTES = ("user.delegate", "trusted.delegate")


class Cgroup:
    """The group of one child."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, pid: int) -> None:
        """Moves a process in; one that is gone, or not ours to move, is left out."""
        with suppress(OSError):
            (self.path / "cgroup.procs").write_text(f"{pid}\n")

    def members(self) -> list[int]:
        """The process IDs in it and in the groups below it, zombies not included."""
        pids: list[int] = []
        for folder in self._folders():
            with suppress(OSError, ValueError):
                pids += map(int, (folder / "cgroup.procs").read_text().split())
        return pids

    def kill(self) -> None:
        """SIGKILL to every member at once (Linux 5.14)."""
        with suppress(OSError):
            (self.path / "cgroup.kill").write_text("1\n")

    def remove(self) -> None:
        """Removes it and what the child made below it; one that is still in use stays."""
        for folder in reversed(self._folders()):
            with suppress(OSError):
                folder.rmdir()

    def _folders(self) -> list[Path]:
        """It and all groups below it, parents first."""
        return [Path(folder) for folder, _, _ in os.walk(self.path)]


class CgroupRoot:
    """The delegated group, below which every child gets one."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, model: str, number: int) -> Cgroup | None:
        """A new, empty group; None when the kernel refuses one (a limit on groups, a lost delegation)."""
        name = f"instance-{number}-{re.sub(r'[^A-Za-z0-9_-]', '_', model)[:64]}"
        with suppress(OSError):
            (self.path / name).mkdir()
            return Cgroup(self.path / name)
        return None


def enter_delegated_root(own: Path | None) -> CgroupRoot | None:
    """The group that was delegated to us, after moving ourselves into its leaf ``service``.

    A group with controllers for its children may hold no process itself, so we make room at the top first.

    Args:
        own: the folder of the group we are in, see :func:`own_cgroup`.
    """
    if own is None:
        return None
    if own.name == LEAF and _is_delegated(own.parent):  # DelegateSubgroup=service, or a start before this one
        return CgroupRoot(own.parent)
    if not _is_delegated(own):
        return None
    try:
        leaf = own / LEAF
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(f"{os.getpid()}\n")
    except OSError:
        return None
    return CgroupRoot(own)


def own_cgroup(proc: Path = Path("/proc/self")) -> Path | None:
    """The folder of the cgroup v2 group that we are in; None without one.

    In a namespace of its own (systemd ``ProtectControlGroups=private``) that is the top of what we see.
    """
    try:
        lines = (proc / "cgroup").read_text().splitlines()
        mounts = (proc / "mountinfo").read_text().splitlines()
    except OSError:
        return None
    inside = next((line[3:] for line in lines if line.startswith("0::")), None)
    if inside is None:
        return None
    for fields in (line.split(" ") for line in mounts):
        if fields[fields.index("-") + 1] == "cgroup2":
            root, mount = fields[3], fields[4]
            if not Path(inside).is_relative_to(root):
                return None
            return Path(mount) / Path(inside).relative_to(root)
    return None


def memory_kills(folder: Path | None) -> int:
    """How many processes of a group the kernel has ended because memory ran out (``oom_kill`` of memory.events).

    A group without the memory controller counts in the nearest one around it that has it, with its other children.
    """
    for group in () if folder is None else (folder, *folder.parents):
        with suppress(OSError, ValueError):
            lines = (line.split() for line in (group / "memory.events").read_text().splitlines())
            return next(int(count) for name, count in lines if name == "oom_kill")
        if not (group / "cgroup.procs").exists():
            break
    return 0


def _is_delegated(folder: Path) -> bool:
    for attribute in _DELEGATE_ATTRIBUTES:
        with suppress(OSError):
            if os.getxattr(folder, attribute) == b"1":
                return os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)
    return False
