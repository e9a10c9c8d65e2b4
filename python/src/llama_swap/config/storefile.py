"""Whether the file of the store can be what it must be, on this machine and for whoever asks."""

import os
from pathlib import Path


def store_fault(path: Path) -> str | None:
    """Why finished requests cannot be kept in this file, or None if they can."""
    try:
        if path.is_dir():
            return f"{path} is a directory, not a file"
        if path.exists():
            return None if os.access(path, os.W_OK) else f"{path} is not writable"
    except OSError as error:
        return f"{path}: {error.strerror}"
    folder = path.parent
    if not folder.is_dir():
        return f"directory {folder} does not exist"
    return None if os.access(folder, os.W_OK) else f"directory {folder} is not writable"
