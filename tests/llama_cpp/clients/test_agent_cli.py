"""agent-cli, a command for people, as a real client of the service.

Its published releases need pydantic-ai 1 (``OpenAIModel``, which 2 removed) and the other tests the current one, so it
lives in an environment of its own beside ours, or wherever ``AGENT_CLI`` or PATH say. Of what it can do with a text
alone it has chat and errors; it neither lists models nor streams, and its tools need a microphone.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BESIDE = Path(sys.prefix) / "agent-cli" / "bin" / "agent-cli"
COMMAND = os.environ.get("AGENT_CLI") or (str(BESIDE) if BESIDE.exists() else shutil.which("agent-cli"))

pytestmark = pytest.mark.skipif(COMMAND is None, reason="no agent-cli here; `make test` installs one beside the tests")


@pytest.fixture
def agent_cli(service, tmp_path):
    """``agent_cli("alpha")`` starts a correction of a text; ``provider="ollama"`` is its other way to the same API."""

    def start(model, provider="openai"):
        where = {
            "openai": ["--llm-openai-model", model, "--openai-base-url", f"{service.base_url}/v1"],
            "ollama": ["--llm-ollama-model", model, "--llm-ollama-host", service.base_url],
        }
        # Neither settings nor keys of the person who runs the tests, and no packages installed behind our back.
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AGENT_CLI_NO_AUTO_INSTALL": "1"}
        argv = [COMMAND, "autocorrect", "--json", "--llm-provider", provider, *where[provider], "this is incorect"]
        return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.mark.parametrize("provider", ["openai", "ollama"])
def test_chat(agent_cli, sentence, last_request, provider):
    """A text is corrected by the named model, by either of the command's two ways to an OpenAI-compatible API."""
    with agent_cli("alpha", provider) as command:
        out, err = command.communicate(timeout=60)
    assert command.returncode == 0, err
    assert json.loads(out)["corrected_text"] == sentence["alpha"]
    row = last_request("alpha")
    assert (row["outcome"], row["resp_status_code"]) == ("ok", 200)
    assert row["tokens"]["input_tokens"] + row["tokens"]["cache_tokens"] > 100


def test_unknown_model_is_an_error_that_names_it(agent_cli):
    """A wrong name ends the command with the name that is right."""
    with agent_cli("alfa") as command:
        out, err = command.communicate(timeout=60)
    assert command.returncode == 1
    assert 'did you mean "alpha"' in out + err


def test_failed_start_is_an_error_that_names_the_model(agent_cli):
    """A model that cannot start ends the command with the reason, and is not tried again in vain."""
    with agent_cli("broken") as command:
        out, err = command.communicate(timeout=60)
    assert command.returncode == 1
    assert "model broken failed to start" in out + err


def test_killed_command_ends_the_work(agent_cli, service, sentence, last_request):
    """A closed terminal ends the request too: the next model is served, and the activity says that the client left.

    llama.cpp is held meanwhile, so that the answer cannot be complete before the command is gone.
    """
    with agent_cli("endless") as command:
        _wait_loaded(service, "endless")
        upstream = next(
            row["pid"] for row in service.call("GET", "/api/status").json()["models"] if row["id"] == "endless"
        )
        os.kill(upstream, signal.SIGSTOP)
        try:
            command.kill()
            command.communicate(timeout=60)
        finally:
            os.kill(upstream, signal.SIGCONT)
    assert service.chat("beta").content() == sentence["beta"]
    assert last_request("endless")["outcome"] == "client_gone"


def _wait_loaded(service, model):
    """Wait for the event that says that the model is ready, which it is because a request is being served."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)) as connection:
        connection.request("GET", "/api/events")
        for line in connection.getresponse():
            event = json.loads(line.removeprefix(b"data:")) if line.startswith(b"data:") else {}
            states = json.loads(event["data"]) if event.get("type") == "modelStatus" else []
            if any((entry["id"], entry["state"]) == (model, "ready") for entry in states):
                return
    pytest.fail(f"{model} did not get ready")
