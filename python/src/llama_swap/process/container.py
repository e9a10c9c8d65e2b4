"""The container that a command starts by docker, podman or nerdctl: its processes are children of the engine, not ours.

They are in a control group that has the container's ID in its name (``docker-ID.scope``, ``libpod-ID.scope``, or a
folder ``ID``), which anybody may read. The ID comes from the file of ``--cidfile``, or by asking the engine for the
``--name``. A container with neither is recognised only where the mark of its tree is passed on
(``-e LLAMA_SWAP_INSTANCE``) and its environment is ours to read.
"""

import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from llama_swap.process.procfs import cgroup_of

_ENGINES = frozenset({"docker", "podman", "nerdctl"})
_FLAGS = frozenset(
    f"--{name}"
    for name in (
        "detach", "disable-content-trust", "env-host", "help", "http-proxy", "init", "interactive", "no-healthcheck",
        "no-hostname", "no-hosts", "oom-kill-disable", "passwd", "privileged", "publish-all", "quiet", "read-only",
        "read-only-tmpfs", "replace", "rm", "rmi", "sig-proxy", "tls-verify", "tty", "use-api-socket",
    )
)  # fmt: skip
"""Options of ``run`` without a value in the next word (docker's, podman's and nerdctl's references)."""
_SHORT_FLAGS = "ditPq"
_ID = re.compile(r"[0-9a-f]{64}")
_ASK_TIMEOUT_SECONDS = 3.0
_ASK_AGAIN_SECONDS = 2.0


class Container:
    """One container, whose ID is found when it is first needed; may be used in any one thread at a time.

    Args:
        engine: the program to ask, with what stands before it in the command (``sudo``).
        environment: for that program.
        id_file: where the engine writes the ID; None where it does not.
        name: that the container was given; "" for none.
    """

    def __init__(self, engine: Sequence[str], environment: Mapping[str, str], id_file: Path | None, name: str) -> None:
        self._engine = tuple(engine)
        self._environment = environment
        self._id_file = id_file
        self._name = name
        self._id = ""
        self._ask_at = float("-inf")

    def holds(self, pid: int) -> bool:
        """Whether a process is in it; may block for seconds while the engine does not answer."""
        container_id = self._id or self._find()
        return bool(container_id) and container_id in cgroup_of(pid)

    def _find(self) -> str:
        if self._id_file is not None:
            with suppress(OSError):
                self._id = _valid(self._id_file.read_text(errors="replace"))
        elif self._name and time.monotonic() >= self._ask_at:
            self._id = _valid(self._ask())
            self._ask_at = time.monotonic() + _ASK_AGAIN_SECONDS
        return self._id

    def _ask(self) -> str:
        """What ``docker inspect`` says, whose options podman and nerdctl have, too."""
        command = [*self._engine, "inspect", "--format", "{{.Id}}", self._name]
        try:
            done = subprocess.run(
                command,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_ASK_TIMEOUT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.decode(errors="replace")


def container_of(argv: Sequence[str], environment: Mapping[str, str]) -> Container | None:
    """The container that a command will run in; None for a command that runs here, or that does not name it."""
    for place, word in enumerate(argv):
        if Path(word).name not in _ENGINES:
            continue
        words = list(argv[place + 1 :])
        if "run" not in words:
            return None
        options = dict(_options(words[words.index("run") + 1 :]))
        id_file, name = options.get("--cidfile", ""), options.get("--name", "")
        if not id_file and not name:
            return None
        return Container(argv[: place + 1], environment, Path(id_file) if id_file else None, name)
    return None


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The long options and their values up to the image; what stands behind that is for the program in it."""
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word == "--":
            return
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if not equals and name not in _FLAGS:
                value = next(rest, "")
            yield name, value
        elif len(word[1:].lstrip(_SHORT_FLAGS)) == 1:
            next(rest, "")  # -p 80:80 and -itp 80:80, but not -it or -p80:80


def _valid(text: str) -> str:
    return text.strip() if _ID.fullmatch(text.strip()) else ""
