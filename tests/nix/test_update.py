"""The pins of llama.cpp move in one step, or not at all."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "nix" / "update-llama-cpp.sh"
CURL = """#!/bin/sh
for word; do url=$word; done
case $url in
  */releases/latest) echo '{"tag_name": "v0.7.0"}' ;;
  */commits/v0.7.0) echo '{"sha": "0123456789abcdef0123456789abcdef01234567"}' ;;
  */v0.7.0/nightly-tag.txt) echo 'llama.cpp 0.7.0 is b11669 of 2026' ;;
  *) exit 22 ;;
esac
"""
NIX = """#!/bin/sh
test "$1 $2" = "--extra-experimental-features nix-command flakes" || exit 1
shift 2
case "$*" in
  "flake prefetch --json github:ggml-org/llama.cpp/0123456789abcdef0123456789abcdef01234567")
    test "$BROKEN" != source || exit 1
    echo '{"hash": "sha256-new", "storePath": "/nix/store/x-source"}' ;;
  *prefetch-npm-deps*)
    test "$BROKEN" != npm || exit 1
    test "$BROKEN" != words || { echo "no such file"; exit 0; }
    echo sha256-npm ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def update(tmp_path):
    """Run the script in a copy of the repository, with a network of our own."""
    if shutil.which("jq") is None or shutil.which("bash") is None:
        pytest.skip("jq and bash are needed")
    (tmp_path / "nix").mkdir()
    shutil.copy(ROOT / "nix" / "pins.json", tmp_path / "nix")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"curl": CURL, "nix": NIX}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    def run(*arguments: str, broken: str = "") -> tuple[int, dict]:
        done = subprocess.run(
            ["bash", str(SCRIPT), *arguments],
            cwd=tmp_path,
            env={"PATH": f"{programs}:/usr/bin:/bin", "BROKEN": broken},
            capture_output=True,
            timeout=30,
            check=False,
        )
        return done.returncode, json.loads((tmp_path / "nix" / "pins.json").read_text())

    return run


def test_all_pins_move_together(update):
    """Version, build number, commit and both hashes are those of the new release."""
    assert update() == (
        0,
        {
            "version": "0.7.0",
            "build": 11669,
            "rev": "0123456789abcdef0123456789abcdef01234567",
            "hash": "sha256-new",
            "npmDepsHash": "sha256-npm",
        },
    )


@pytest.mark.parametrize(
    ("arguments", "broken"), [((), "source"), ((), "npm"), ((), "words"), (("0.9.9",), ""), (("b12345",), "")]
)
def test_a_failure_moves_nothing(update, arguments, broken):
    """When anything cannot be fetched the pins stay as they were."""
    before = json.loads((ROOT / "nix" / "pins.json").read_text())
    status, after = update(*arguments, broken=broken)
    assert status != 0
    assert after == before


def test_the_same_version_is_left_alone(update):
    """Nothing is fetched for what is pinned already."""
    before = json.loads((ROOT / "nix" / "pins.json").read_text())
    assert update(before["version"]) == (0, before)
