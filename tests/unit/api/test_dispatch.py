"""What a row says about how its request was sent."""

import pytest

from llama_swap.api.directory import Directory
from llama_swap.api.dispatch import row_metadata
from llama_swap.config import PortBook, load_config

CONFIG = """
models: {plain: {cmd: "x --port ${PORT}"}, urgent: {cmd: "x --port ${PORT}"}}
routing: {scheduler: {use: fifo, settings: {fifo: {priority: {urgent: 7}}}}}
peers: {p: {proxy: "http://127.0.0.1:9", models: [far]}}
"""


@pytest.mark.parametrize(
    ("selector", "name", "metadata"),
    [
        ("", "plain", {}),
        ("s", "plain", {"selector": "s"}),
        ("", "urgent", {"fifo_priority": "7"}),
        ("s", "urgent", {"selector": "s", "fifo_priority": "7"}),
        ("s", "p/far", {"selector": "s"}),
    ],
)
def test_row_metadata(tmp_path, selector, name, metadata):
    """The selector and the priority, where there is one; peers decide about their own."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    config = load_config([path], env={}, ports=PortBook())
    assert row_metadata(selector, Directory(config).destinations[name]) == metadata
