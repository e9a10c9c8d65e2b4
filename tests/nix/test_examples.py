"""The configurations of docs/nixos.md are complete: each is evaluated as it stands there and given to the service."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "nixos.md").read_text()
BLOCKS = dict(re.findall(r"```nix\n# example: (\S+)\n(.*?)```", PAGE, flags=re.DOTALL))
HOSTS = tuple(name for name in BLOCKS if name != "flake.nix")
NAMES_OF_THE_HOST = 29
# The host's own settings around the service, which the stub of NixOS has no options for.
FOREIGN = re.compile(r"^  (hardware\.nvidia|nixpkgs)\..*\n", flags=re.MULTILINE)


@pytest.fixture(scope="module", params=HOSTS)
def example(request, nix) -> dict:
    """One configuration, evaluated."""
    module = FOREIGN.sub("", BLOCKS[request.param])
    result = nix.machine(
        module,
        "{ inherit (config) warnings; inherit (config.services.llama-swap) settings clients;"
        " failing = lib.filter (entry: !entry.assertion) config.assertions; }",
    )
    return {"name": request.param, **result}


def test_nothing_is_wrong_with_it(example):
    """An example neither fails an assertion nor brings a warning."""
    assert (example["failing"], example["warnings"]) == ([], [])


def test_the_service_accepts_it(example, tmp_path):
    """`llama-swap check`, which the build runs, finds nothing."""
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(example["settings"]))
    done = subprocess.run(
        [sys.executable, "-m", "llama_swap", "check", str(file), "--allow-missing-env"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_only_settings_have_is_shown():
    """Each part of llama-swap that has no option of its own has an example."""
    assert {"matrix.nix", "selectors.nix", "peers.nix", "store.nix", "capture.nix", "hosts.nix"} < set(HOSTS)
    assert {"memory.nix", "yield.nix", "keys.nix"} < set(HOSTS)


def test_the_blog_post(nix):
    """Three models become the commands of the post, with today's spelling of its options."""
    settings = nix.machine(FOREIGN.sub("", BLOCKS["blog.nix"]))
    coder = settings["models"]["qwen3-coder-30b"]["cmd"]
    assert coder.split("/bin/llama-server ")[1] == (
        "--hf-repo unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF:Q4_K_M --ctx-size 32768 --jinja --flash-attn on"
        " --n-gpu-layers 99 --main-gpu 0 --port ${PORT}"
    )
    assert settings["globalTTL"] == 3600
    assert len(settings["models"]) == 3


def test_the_grown_host_is_small(nix):
    """All 29 names can be asked for, from at most 120 lines."""
    assert len(BLOCKS["host.nix"].strip().splitlines()) <= 120
    models = nix.machine(FOREIGN.sub("", BLOCKS["host.nix"]))["models"]
    names = set(models) | {
        name for model in models.values() for name in model.get("filters", {}).get("setParamsByID", {})
    }
    assert len(names - {"gpt-oss:20b"}) == NAMES_OF_THE_HOST
    assert models["embeddinggemma:300m"]["pin"] is True
    assert "--tensor-split 1.3,3" in models["gpt-oss:120b"]["cmd"]
    assert models["gpt-oss:20b"]["filters"]["setParamsByID"]["gpt-oss-low:20b"] == {
        "chat_template_kwargs": {"reasoning_effort": "low"}
    }


def test_the_options_page_is_fresh(nix):
    """docs/options.md is what the module says today."""
    page = nix.evaluate(f"(import {ROOT}/nix/docs.nix {{ inherit lib pkgs; }}).text")
    assert (ROOT / "docs" / "options.md").read_text() == page
