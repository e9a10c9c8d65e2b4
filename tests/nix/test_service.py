"""Rendered commands are started for real: typed options -> the service -> llama.cpp -> an answer."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUB = ROOT / "tests" / "nix" / "stub"
SERVER = Path(sys.executable).with_name("llama-swap-embedded-server")
PATIENCE_SECONDS = 60

MACHINE = """
  defaults = {{ ctxSize = 2048; parallel = 1; threads = 1; }};
  models.tiny = {{
    path = "{model}";
    batchSize = 512;
    sampling = {{ temp = 0.5; topP = 0.95; }};
    chatTemplate = "{{% for m in messages %}}{{{{ m['content'] }}}} it's \\"#1\\"\\n# no comment\\n{{% endfor %}}";
    aliases = [ "small" ];
    variants.short.setParams.max_tokens = 1;
  }};
  models.argv.cmd = [ "{server}" "--model" "{model}" "--port" "\\${{PORT}}" ];
"""


@pytest.fixture
def service(nix, tmp_path, free_port):
    """The service with a configuration that Nix rendered and built; its base URL."""
    tiny = pytest.importorskip("llama_swap.demo.tiny_gguf", reason="the demo extra is not installed")
    if not SERVER.exists():
        pytest.skip("no embedded llama.cpp server beside this Python")
    model = tiny.write_tiny_model(tmp_path / "tiny model.gguf", tiny.TinyModel("tiny", "Small but quite real.", seed=7))
    settings = MACHINE.format(model=model, server=SERVER)
    built = nix.run(
        "nix-build",
        "--no-out-link",
        "--expr",
        "let lib = import <nixpkgs/lib>;"
        f' pkgs = import {STUB}/pkgs.nix {{ inherit lib; llamaServerProgram = "{SERVER}";'
        f' llamaSwapProgram = "{SERVER.with_name("llama-swap")}"; }};'
        f" inherit (import {STUB}/evaluate.nix {{ inherit lib pkgs; }} [ {{ services.llama-swap = {{ enable = true;"
        f" {settings} }}; }} ]) config; in config.services.llama-swap.configFile",
    )
    assert built.returncode == 0, built.stderr
    listen = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [sys.executable, "-m", "llama_swap", "serve", "--config", built.stdout.strip(), "--listen", listen],
        stdout=subprocess.PIPE,
        env={**os.environ, "PATH": f"{SERVER.parent}:{os.environ['PATH']}"},
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "listening" in line:
            break
    yield f"http://{listen}"
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_SECONDS) == 0
    process.stdout.close()


def chat(url: str, model: str) -> dict:
    """One answer of a model."""
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        return json.load(answer)


def test_typed_models_serve(service):
    """A typed model, its alias and its variant answer; so does one that was given as a list of words."""
    assert "Small but quite real" in chat(service, "tiny")["choices"][0]["message"]["content"]
    assert "Small" in chat(service, "small")["choices"][0]["message"]["content"]
    assert chat(service, "short")["usage"]["completion_tokens"] == 1
    assert "Small" in chat(service, "argv")["choices"][0]["message"]["content"]
