"""Where the service keeps what it learned, unless it is told."""

from collections.abc import Mapping
from pathlib import Path

FILE_NAME = "footprints.json"


def learned_path(written: str | None, env: Mapping[str, str]) -> Path | None:
    """The file of what models were seen to take.

    Args:
        written: as configured; None is not at all, an empty text is no file.
        env: systemd names the state directory of a unit in it (systemd.exec(5)), the user's is where the XDG Base
            Directory Specification has it.

    Returns:
        None where there is no file, or no place for one.
    """
    if written is not None:
        return Path(written) if written.strip() else None
    if given := env.get("STATE_DIRECTORY"):
        return Path(given.partition(":")[0]) / FILE_NAME
    state = env.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):
        home = env.get("HOME")
        state = f"{home}/.local/state" if home else ""
    return Path(state) / "llama-swap" / FILE_NAME if state else None
