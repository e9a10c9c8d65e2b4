"""Notice that the configuration changed, by content.

A look at a second costs a few microseconds per file and works on every file system, through symlinks (NixOS swaps
those) and for files that appear later. The inode change time is part of the look because, unlike the modification
time, nobody can set it back: a same-length edit with an old mtime is noticed.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

_Look = tuple[tuple[str, int, int, int, int, int] | None, ...]


def content_digest(sources: Sequence[Path]) -> str:
    """A hash of names and contents; a source that cannot be read counts as absent."""
    digest = hashlib.sha256()
    for path in sources:
        try:
            content = path.read_bytes()
        except OSError:
            continue
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _look(sources: Sequence[Path]) -> _Look:
    rows: list[tuple[str, int, int, int, int, int] | None] = []
    for path in sources:
        try:
            seen = path.stat()
        except OSError:
            rows.append(None)
        else:
            rows.append((str(path), seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns))
    return tuple(rows)


async def watch_changes(
    find_sources: Callable[[], Sequence[Path]],
    loaded_digest: Callable[[], str],
    *,
    interval_seconds: float = 1.0,
) -> AsyncIterator[None]:
    """Yield when the content differs from what was loaded and has been quiet for one interval.

    Args:
        find_sources: the files of the configuration as they are now (a directory may gain some).
        loaded_digest: :func:`content_digest` of what was loaded last, successfully or not; an edit between the load and
            the first look is noticed too.
        interval_seconds: between two looks; also the quiet time that a burst of edits must end with.
    """
    before: _Look = ()
    settled: _Look = ()
    while True:
        sources = find_sources()
        now = _look(sources)
        if now != before:
            before = now
        elif now != settled and any(now):
            settled = now
            if content_digest(sources) != loaded_digest():
                yield
        await asyncio.sleep(interval_seconds)
