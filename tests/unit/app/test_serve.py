"""What becomes of the service when nobody can read its configuration."""

import asyncio
import os
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from llama_swap.app import ServeOptions, serve
from llama_swap.app.service import Service
from llama_swap.app.sources import Sources
from llama_swap.config import ConfigError, PortBook, load_config


@pytest.fixture
def options(tmp_path):
    """Of a service with an empty configuration."""
    file = tmp_path / "config.yaml"
    file.write_text("{}")
    return ServeOptions(file, None, "127.0.0.1:0", config_error_status=78)


def test_a_start_without_another_process(options, monkeypatch, capsys):
    """The machine's fault and not the file's: the service manager may try again."""

    def fork():
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", fork)
    assert serve(options) == 1
    assert "configuration cannot be read: no more processes" in capsys.readouterr().err


def test_a_start_without_files(options, tmp_path, capsys):
    """Known before anybody is asked to read them."""
    empty = tmp_path / "empty"
    empty.mkdir()
    assert serve(ServeOptions(None, empty, "127.0.0.1:0", config_error_status=78)) == 78
    assert "no configuration sources found" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ConfigError([]), ChildProcessError("ended with status -9")])
async def test_a_reload_that_fails(options, monkeypatch, error):
    """The old configuration stays in force, and that is said."""

    def load():
        raise error

    sources = Sources(options)
    config = load_config([options.config], env={}, ports=PortBook())
    service = Service(options, sources, config, [], None)
    monkeypatch.setattr(sources, "load", load)
    ready = asyncio.Event()
    service._notifier = SimpleNamespace(reloading=lambda: None, ready=ready.set)
    service._reload.set()
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            reloading = tasks.create_task(service._reload_when_asked(None, tasks))
            await ready.wait()
            reloading.cancel()
    assert [line["event"] for line in lines] == ["configuration not reloaded, the old one stays in force"]
