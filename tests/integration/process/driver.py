"""A small service: launches the command given after ``--``, reports as JSON, then ends as its first argument says.

wait: until somebody kills it.  exit: closes the launcher.  vanish: ends without closing anything.
"""

import asyncio
import json
import os
import sys

from llama_swap.process import Launcher, LaunchSpec
from llama_swap.process.procfs import every_process


async def main(ending: str, port: int, argv: tuple[str, ...]) -> None:
    """Launches, waits until ready, prints what runs, ends."""
    async with Launcher.open() as launcher:
        spec = LaunchSpec("m", argv, dict(os.environ), None, f"http://127.0.0.1:{port}", "/health", port)
        child = await launcher.launch(spec, on_output=lambda stream, line: None)
        await child.wait_ready()
        tree = [stat.pid for stat in child.tree.members()]
        guardian = [stat.pid for stat in every_process() if stat.parent == os.getpid() and stat.pid not in tree]
        cgroups = [open(f"/proc/{pid}/cgroup").read() for pid in (os.getpid(), *tree)]  # noqa: ASYNC230, PTH123, SIM115
        sys.stdout.write(json.dumps({"tree": tree, "guardian": guardian, "cgroups": cgroups}) + "\n")
        sys.stdout.flush()
        if ending == "vanish":
            os._exit(0)
        if ending == "wait":
            await asyncio.Event().wait()


if __name__ == "__main__":
    separator = sys.argv.index("--")
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), tuple(sys.argv[separator + 1 :])))
