"""What all children share: where they are started from, who guards them, who reaps what they leave behind."""

import asyncio
import functools
import itertools
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from llama_swap.process.cgroup import Cgroup, CgroupRoot, enter_delegated_root, own_cgroup
from llama_swap.process.child import ChildProcess, OnOutput
from llama_swap.process.guardian import Guardian, Ward
from llama_swap.process.orphans import OrphanReaper
from llama_swap.process.procfs import children_of, read_stat
from llama_swap.process.spawn import Spawned, spawn
from llama_swap.process.spec import LaunchFailed, LaunchSpec
from llama_swap.process.subreaper import adopt_orphans
from llama_swap.process.tree import ProcessTree, marked


class Launcher:
    """Starts children; one per service. Use ``async with Launcher.open() as launcher``.

    While it is open this process inherits the orphans below it, and where cgroup v2 is delegated to it, it lives in the
    leaf ``service``. The guardian starts with the first child.
    """

    def __init__(self, cgroups: CgroupRoot | None) -> None:
        self._cgroups = cgroups
        self._token = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._turn = asyncio.Lock()  # one launch at a time where new processes have to be told apart
        self._guardian = Guardian(self._token)
        self._children: dict[ChildProcess, Ward] = {}
        self._orphans = OrphanReaper(self._trees, self._waited_for)

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        """Sets this process up; at the end kills every child that is left and waits until all are gone."""
        launcher = cls(enter_delegated_root(own_cgroup()))
        adopt_orphans(wanted=True)
        launcher._orphans.start()
        try:
            yield launcher
        finally:
            await launcher.close()

    async def launch(self, spec: LaunchSpec, *, on_output: OnOutput) -> ChildProcess:
        """Starts a command; returns once its program runs.

        Args:
            spec: what to start and how to reach it.
            on_output: called with "stdout" or "stderr" and each line, without its newline.

        Raises:
            LaunchFailed: it cannot be executed.
        """
        self._watch_over(spec)
        if self._cgroups is None:
            return self._start(spec, on_output)
        async with self._turn:
            not_its = children_of(os.getpid())
            child = self._start(spec, on_output)
            enter = functools.partial(child.tree.enter_cgroup, not_ours=not_its)
            try:
                # The kernel moves a process after a grace period of 10 ms and more, which the loop need not wait for.
                await asyncio.get_running_loop().run_in_executor(None, enter)
            except asyncio.CancelledError:
                child.kill()
                raise
        return child

    def _start(self, spec: LaunchSpec, on_output: OnOutput) -> ChildProcess:
        number = next(self._numbers)
        token = f"{self._token}.{number}."
        environment = marked(spec.env, token)
        main = spawn(spec.argv, environment)
        cgroup = self._cgroups.create(spec.model, number) if self._cgroups else None
        tree = ProcessTree(main.pid, token, cgroup)
        try:
            child = ChildProcess(
                spec,
                main,
                tree=tree,
                environment=environment,
                on_output=on_output,
                on_gone=lambda: self._forget(child),
            )
        except OSError as error:
            main.abandon()
            tree.close()
            raise _failure(spec, error) from error
        self._children[child] = _ward(main, cgroup)
        self._guardian.protect(self._children.values())
        return child

    async def close(self) -> None:
        """Kills every child, waits until all are gone, dismisses the guardian."""
        for child in list(self._children):
            child.kill()
        for child in list(self._children):
            await child.wait_exit()
        self._guardian.dismiss()
        self._orphans.stop()
        adopt_orphans(wanted=False)

    def _watch_over(self, spec: LaunchSpec) -> None:
        """The guardian runs before the child does: from its first moment it is known by its mark."""
        try:
            self._guardian.watch_over()
        except OSError as error:
            raise _failure(spec, error) from error

    def _forget(self, child: ChildProcess) -> None:
        if self._children.pop(child, None) is not None:
            self._guardian.protect(self._children.values())

    def _trees(self) -> list[ProcessTree]:
        return [child.tree for child in self._children]

    def _waited_for(self) -> set[int]:
        own = {self._guardian.pid} if self._guardian.pid is not None else set()
        return own.union(*(child.waited_for() for child in self._children))


def _failure(spec: LaunchSpec, error: OSError) -> LaunchFailed:
    program = spec.argv[0] if spec.argv else ""
    return LaunchFailed(f"failed to start command '{program}': {error.strerror}")


def _ward(main: Spawned, cgroup: Cgroup | None) -> Ward:
    stat = read_stat(main.pid)
    return Ward(main.pid, 0 if stat is None else stat.start_ticks, str(cgroup.path) if cgroup else "")
