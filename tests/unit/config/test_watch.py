"""Noticing changes of the configuration by content."""

import asyncio
import os

import pytest

from llama_swap.config.watch import content_digest, watch_changes


class Watched:
    """One file, what was loaded of it, and a watcher that looks every few milliseconds."""

    def __init__(self, path):
        self.path = path
        self.loaded = content_digest([path])
        self.changes = watch_changes(lambda: [path], lambda: self.loaded, interval_seconds=0.005)

    async def change(self):
        """Wait for the next change and count it as loaded."""
        await asyncio.wait_for(anext(self.changes), 5)
        self.loaded = content_digest([self.path])

    async def is_quiet(self):
        """Whether nothing is noticed for many looks."""
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(self.changes), 0.1)
        return True


@pytest.fixture
def watched(tmp_path):
    """A watched file."""
    path = tmp_path / "config.yaml"
    path.write_text("a: 1\n")
    return Watched(path)


async def test_edit_between_load_and_first_look_is_noticed(watched):
    """What was loaded counts, not what was there when the watcher began."""
    watched.path.write_text("a: 2\n")
    await watched.change()


async def test_same_length_edit_with_its_old_time_is_noticed(watched):
    """Size and modification time may lie; the inode change time cannot."""
    await asyncio.wait_for(_settle(watched), 5)
    before = watched.path.stat()
    watched.path.write_text("a: 9\n")
    os.utime(watched.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    await watched.change()


async def _settle(watched):
    watched.path.write_text("a: 5\n")
    await watched.change()


async def test_touch_without_a_change_is_nothing(watched):
    """A new time alone is no new configuration."""
    watched.path.touch()
    assert await watched.is_quiet()


async def test_missing_file_is_waited_for(watched):
    """Editors that delete and write anew cause one change, not an empty configuration."""
    await asyncio.wait_for(_settle(watched), 5)
    watched.path.unlink()
    waiting = asyncio.ensure_future(watched.change())  # noqa: TID251 - a test may run two things
    await asyncio.sleep(0.05)
    assert not waiting.done()
    watched.path.write_text("a: 7\n")
    await waiting


async def test_symlink_swap_is_noticed(tmp_path):
    """The file behind a link may change although the link's own folder does not."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(name)
    link = tmp_path / "current"
    link.symlink_to("one")
    watched = Watched(link / "config.yaml")
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").replace(link)
    await watched.change()
