"""Whether the file of the store can be one."""

import os

import pytest

from llama_swap.config import storefile
from llama_swap.config.storefile import store_fault


def test_fine(tmp_path):
    """A new file in a folder, and a file that is there."""
    path = tmp_path / "a.sqlite"
    assert store_fault(path) is None
    path.write_bytes(b"")
    assert store_fault(path) is None


def test_not_fine(tmp_path):
    """A folder, a folder that is not there, and a file as folder."""
    (tmp_path / "file").write_bytes(b"")
    assert "is a directory" in store_fault(tmp_path)
    assert "does not exist" in store_fault(tmp_path / "gone" / "a.sqlite")
    assert store_fault(tmp_path / "file" / "a.sqlite") is not None
    assert store_fault(tmp_path / ("x" * 300)) is not None


@pytest.mark.parametrize(("exists", "words"), [(True, "a.sqlite is not writable"), (False, "directory ")])
def test_not_allowed(tmp_path, monkeypatch, exists, words):
    """What the service may not write to; the administrator, as whom tests may run, may write everywhere."""
    path = tmp_path / "a.sqlite"
    if exists:
        path.write_bytes(b"")
    asked = []
    monkeypatch.setattr(storefile.os, "access", lambda where, mode: asked.append((where, mode)))
    reason = store_fault(path)
    assert words in reason
    assert reason.endswith("is not writable")
    assert asked == [(path if exists else tmp_path, os.W_OK)]
