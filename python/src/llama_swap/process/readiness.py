"""Notice within milliseconds that an upstream is ready, and never before.

Servers print a line when they are ready, so each line of output triggers a probe (which line, and how it is worded,
does not matter); a timer catches the silent ones. A probe that hangs is given up and tried again.
"""

import asyncio
from collections.abc import Callable

from llama_swap.process.listener import foreign_listener
from llama_swap.process.probe import HttpProbe
from llama_swap.process.procfs import read_stat
from llama_swap.process.spec import LaunchSpec, NotReady
from llama_swap.process.tree import ProcessTree

SPACING_SECONDS = 0.005
PATIENCE_SECONDS = 1.0
LONG_PATIENCE_SECONDS = 5.0
HANGS_BEFORE_LONG_PATIENCE = 10
HTTP_OK = 200


async def wait_until_ready(
    spec: LaunchSpec, tree: ProcessTree, spoke: asyncio.Event, ended: Callable[[], bool]
) -> None:
    """Returns when the check endpoint answers 200 and the one that answers is not somebody else.

    Args:
        spec: where and what to ask.
        tree: the processes that may have the port.
        spoke: set by each line of output; cleared here.
        ended: the process has ended; then this never returns.

    Raises:
        NotReady: a process that is not ours has ``spec.owned_port``.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    probe = HttpProbe(spec.base_url, spec.check_endpoint or "/")
    is_ours = spec.owned_port is None
    hangs = 0
    try:
        while not ended():
            spoke.clear()
            patience = PATIENCE_SECONDS if hangs < HANGS_BEFORE_LONG_PATIENCE else LONG_PATIENCE_SECONDS
            asked_at = loop.time()
            status = await _ask(probe, patience)
            hangs += loop.time() - asked_at >= patience
            if probe.has_connected and not is_ours:
                _refuse_foreign_listener(spec, tree)
                is_ours = True
            if status == HTTP_OK and not ended():
                return
            await _pause(spoke, fallback_seconds(loop.time() - started))
    finally:
        probe.close()
    await asyncio.Event().wait()


def fallback_seconds(elapsed_seconds: float) -> float:
    """The time between two probes of a silent child: 20 ms at first, 100 ms for one that loads for a minute."""
    return min(0.1, max(0.02, elapsed_seconds / 500))


async def _ask(probe: HttpProbe, patience_seconds: float) -> int | None:
    """The status of one probe; None when it got no answer, after which its connection is gone."""
    try:
        async with asyncio.timeout(patience_seconds):
            return await probe.ask()
    except TimeoutError:
        probe.close()
        return None


async def _pause(spoke: asyncio.Event, fallback: float) -> None:
    """Until the next line of output or the fallback, but for a moment at least."""
    await asyncio.sleep(SPACING_SECONDS)
    try:
        async with asyncio.timeout(fallback - SPACING_SECONDS):
            await spoke.wait()
    except TimeoutError:
        return


def _refuse_foreign_listener(spec: LaunchSpec, tree: ProcessTree) -> None:
    main = read_stat(tree.pid)
    if main is None or spec.owned_port is None:
        return
    own = [stat.pid for stat in tree.members()]
    if (rival := foreign_listener(spec.owned_port, own=own, before_ticks=main.start_ticks)) is not None:
        raise NotReady(f"port {spec.owned_port} is in use by another process: {rival.program} (pid {rival.pid})")
