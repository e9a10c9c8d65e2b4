"""What a start imports, and what it does without: modules are most of its time and of its memory."""

import json
import subprocess
import sys

import pytest

# Name -> why a service that has just started has no use for it.
NEEDLESS = {
    "pydantic": "another process reads the configuration",
    "pydantic_core": "the same",
    "yaml": "the same",
    "llama_swap.config.load": "the same",
    "llama_swap.config.schema": "the same",
    "llama_swap.config.check": "for a command",
    "llama_swap.config.reference": "for the documentation",
    "llama_swap.testing": "for tests",
    "llama_swap.demo": "for the demonstration",
    "gguf": "for the demonstration",
    "xllamacpp": "for the demonstration",
    "multiprocessing": "nothing is computed in parallel",
    "unittest": "for tests",
    "pytest": "for tests",
    "setuptools": "for building",
    "pip": "for installing",
    "importlib.resources": "the files of the status page lie beside their module",
    "zipfile": "the same",
    "importlib.metadata": "nobody asks what is installed",
    "prometheus_client": "nobody has asked for the metrics yet",
    "wsgiref": "comes with it",
    "http.server": "the same",
    "logging.handlers": "no record goes into a file, to a server or into a queue",
    "difflib": "nothing was misspelt",
    "numpy": "nothing is computed at all",
}


SERVE_AND_STOP = """
import json, os, signal, sys
import llama_swap.notify
from llama_swap.cli import main

class Notifier(llama_swap.notify.Notifier):
    def ready(self):
        super().ready()
        os.write(int(sys.argv[1]), json.dumps(sorted(sys.modules)).encode())
        os.kill(os.getpid(), signal.SIGTERM)

llama_swap.notify.Notifier = Notifier
sys.exit(main(["--config", "config.yaml", "--listen", "127.0.0.1:0"]))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """The modules that a service has at the moment when it accepts requests."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "config.yaml").write_text("apiKeys: [k]\nmodels: {m: {cmd: 'sleep ${PORT}'}}")
    with (folder / "modules").open("wb") as modules:
        subprocess.run(
            [sys.executable, "-c", SERVE_AND_STOP, str(modules.fileno())],
            cwd=folder,
            check=True,
            pass_fds=[modules.fileno()],
            timeout=60,
        )
    return set(json.loads((folder / "modules").read_text()))


@pytest.mark.parametrize("name", NEEDLESS)
def test_a_start_does_without(imported, name):
    """Each of them costs a start time, and the service memory, for as long as it runs."""
    assert name not in imported


def test_the_list_is_real(imported):
    """The service did start, with what it needs for its first request, so that no request waits for an import."""
    needed = ("api.openai", "api.relay", "proxy.forward", "activity.recorder", "logs.requests", "footprint.assess")
    assert {f"llama_swap.{name}" for name in needed} <= imported
    assert {"aiohttp.web", "httptools", "msgspec", "structlog", "sqlite3"} <= imported
