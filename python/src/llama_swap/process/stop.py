"""``cmdStop``: a command that ends a child in its own way, such as ``docker stop``."""

import signal
from collections.abc import Callable, Mapping

from llama_swap.process.output import LineReader
from llama_swap.process.spawn import spawn
from llama_swap.process.spec import LaunchSpec
from llama_swap.process.watch import ExitWatch


class StopCommand:
    """One run of ``cmdStop`` in the background, in a session of its own, with the environment of the child.

    Its output goes where the child's goes. ``on_ended`` is told what went wrong, or None.

    Raises:
        LaunchFailed: it cannot be started.
    """

    def __init__(
        self,
        spec: LaunchSpec,
        child_pid: int,
        environment: Mapping[str, str],
        on_line: Callable[[str, bytes], None],
        on_ended: Callable[[str | None], None],
    ) -> None:
        argv = [item.replace("${PID}", str(child_pid)) for item in spec.stop_argv or ()]
        self._on_ended = on_ended
        self._process = spawn(argv, environment)
        self.pid = self._process.pid
        self.is_running = True
        self.readers = (
            LineReader(self._process.stdout, lambda line: on_line("stdout", line)),
            LineReader(self._process.stderr, lambda line: on_line("stderr", line)),
        )
        self._watch = ExitWatch(self.pid, self._ended)

    def kill(self) -> None:
        """Ends it and its group at once."""
        if self.is_running:
            self._process.signal_group(signal.SIGKILL)

    def _ended(self) -> None:
        code = self._process.reap()
        self.is_running = False
        self._on_ended(f"failed with exit status {code}" if code else None)
