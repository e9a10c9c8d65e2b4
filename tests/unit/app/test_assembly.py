"""What the configuration says about finished requests."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from llama_swap.activity import Limits
from llama_swap.app.assembly import limits, store_path_changed
from llama_swap.config import PortBook, load_config


@pytest.fixture
def configured(tmp_path):
    """``configured(text)`` is the configuration with it."""

    def load(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return load_config([path], env={}, ports=PortBook())

    return load


def test_memory_is_bounded_with_and_without_a_file(configured):
    """A file that cannot be used does not let memory grow for ever."""
    assert limits(configured("metricsMaxInMemory: 7")) == Limits(None, None, 7)
    with_file = "metricsMaxInMemory: 7\nstore: {path: a.db, maxRows: 5, maxAgeDays: 6}"
    assert limits(configured(with_file)) == Limits(5, 6, 7)
    assert limits(configured("store: {path: a.db}")) == Limits(None, None, 1000)


@pytest.mark.parametrize(("path", "changed"), [(Path("a.db"), False), (Path("b.db"), True), (None, True)])
def test_another_file_needs_a_restart(configured, path, changed):
    """The store stays where it was opened."""
    assert store_path_changed(SimpleNamespace(path=path), configured("store: {path: a.db}")) is changed
