"""What can be built without nixpkgs is built: the checked configuration, the start script; and the unit is measured."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUB = ROOT / "tests" / "nix" / "stub"
# The service of this very test run; Nix builds with an empty environment, so the stand-in for the package names it.
PROGRAM = Path(sys.executable).with_name("llama-swap")
# Exposure times ten, as `systemd-analyze --threshold` takes it.
LIMIT_WITH_GPU = 15
LIMIT_WITHOUT = 12
# /dev/dri is opened through groups, which PrivateUsers would take away, and drivers compile code into memory.
LIMIT_WITH_RENDER_NODES = 16


def build(nix, settings: str, wanted: str) -> subprocess.CompletedProcess[str]:
    """Build a part of an evaluated machine, in the private store; stdout is its path."""
    return nix.run(
        "nix-build",
        "--no-out-link",
        "--expr",
        "let lib = import <nixpkgs/lib>;"
        f' pkgs = import {STUB}/pkgs.nix {{ inherit lib; llamaSwapProgram = "{PROGRAM}"; }};'
        f" inherit (import {STUB}/evaluate.nix {{ inherit lib pkgs; }} [ {{ services.llama-swap = {{ enable = true;"
        f" {settings} }}; }} ]) config; in {wanted}",
    )


@pytest.fixture(scope="module")
def can_build(nix) -> None:
    """Skip where Nix cannot build outside a sandbox."""
    if not PROGRAM.exists():
        pytest.skip("llama-swap is not installed beside this Python")
    probe = nix.run(
        "nix-build", "--no-out-link", "--expr", f"(import {STUB}/pkgs.nix {{ lib = import <nixpkgs/lib>; }}).coreutils"
    )
    if probe.returncode:
        pytest.skip(f"Nix cannot build here: {probe.stderr.splitlines()[-1:]}")


def test_a_good_configuration_builds(nix, can_build):
    """The configuration passes the program's own check and is the settings, number by number."""
    done = build(
        nix,
        'models.m = { path = "/w"; metadata.scale = 1.0e-7; ttl = "1h"; };',
        "config.services.llama-swap.configFile",
    )
    assert done.returncode == 0, done.stderr
    written = json.loads(Path(done.stdout.strip()).read_text())
    assert written["models"]["m"]["metadata"] == {"scale": 1e-7}
    assert written["models"]["m"]["ttl"] == 3600


def test_a_bad_configuration_does_not(nix, can_build):
    """A key that the program does not know fails the build, with the nearest key it does know."""
    done = build(
        nix, 'models.m.path = "/w"; settings.models.m.conccurencyLimit = 1;', "config.services.llama-swap.configFile"
    )
    assert done.returncode != 0
    assert "concurrencyLimit" in done.stderr


def test_keys_need_not_exist_at_build_time(nix, can_build):
    """A configuration with secrets is checked without them."""
    done = build(
        nix, 'apiKeyFiles = [ "/run/secrets/key" ]; models.m.path = "/w";', "config.services.llama-swap.configFile"
    )
    assert done.returncode == 0, done.stderr


def test_the_start_script_exports_credentials(nix, can_build, tmp_path):
    """The script turns credentials into variables and becomes the service: same process, same arguments."""
    program = tmp_path / "llama-swap"
    program.write_text('#!/bin/sh\necho "$$ $OTHER $HF_TOKEN $*"\n')
    program.chmod(0o755)
    settings = (
        'credentials.OTHER = "/run/k"; credentials.HF_TOKEN = "/run/h"; package = lib.mkForce (pkgs.runCommand "x" { }'
        f' "mkdir -p $out/bin; ln -s {program} $out/bin/llama-swap" // {{ meta.mainProgram = "llama-swap"; }});'
    )
    done = build(nix, settings, 'pkgs.writeText "start" config.services.llama-swap.startCommand')
    assert done.returncode == 0, done.stderr
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "OTHER").write_text("s3 cr'et\n")
    (credentials / "HF_TOKEN").write_text("hf")
    script = subprocess.Popen(
        [Path(done.stdout.strip()).read_text(), "serve", "--config", "c"],
        env={"CREDENTIALS_DIRECTORY": str(credentials), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
    )
    output, _ = script.communicate(timeout=10)
    assert output == f"{script.pid} s3 cr'et hf serve --config c\n"


def test_the_scripts_of_gamemode(nix, can_build, tmp_path):
    """They ask with the first key of the file and with all words, and need nothing on the path."""
    program = tmp_path / "llama-swap"
    program.write_text('#!/bin/sh\necho "$LLAMA_SWAP_API_KEY"; for word; do echo "$word"; done\n')
    program.chmod(0o755)
    key = tmp_path / "desk key"
    key.write_text("# of the desk\n\n  sk-desk \nsk-other\n")
    settings = (
        f'yield = {{ gamemode.enable = true; apiKeyFile = "{key}"; url = "http://h:1"; }}; package = lib.mkForce'
        f' (pkgs.runCommand "x" {{ }} "mkdir -p $out/bin; ln -s {program} $out/bin/llama-swap"'
        ' // { meta.mainProgram = "llama-swap"; passthru.llamaSwapUnit = true; });'
    )
    for name, words in (
        ("start", ["--as", "gamemode", "--because", "a game runs"]),
        ("end", ["--end", "--as", "gamemode"]),
    ):
        done = build(nix, settings, f'pkgs.writeText "hook" (lib.head config.programs.gamemode.settings.custom.{name})')
        assert done.returncode == 0, done.stderr
        hook = Path(done.stdout.strip()).read_text()
        assert len(hook) < 200  # GameMode reads at most 255 characters of a value
        got = subprocess.run(["/bin/sh", "-c", hook], env={}, capture_output=True, text=True, check=True, timeout=10)
        assert got.stdout.splitlines() == ["sk-desk", "yield", "--url", "http://h:1", *words]


@pytest.mark.parametrize(
    ("host", "limit"),
    [
        pytest.param("", LIMIT_WITHOUT, id="cpu"),
        pytest.param(
            'hardware.graphics.enable = true; services.xserver.videoDrivers = [ "nvidia" ];', LIMIT_WITH_GPU, id="cuda"
        ),
        pytest.param(
            'services.llama-swap.gpu = { enable = true; backend = "vulkan"; };', LIMIT_WITH_RENDER_NODES, id="vulkan"
        ),
        pytest.param(
            'services.llama-swap.gpu = { enable = true; backend = "rocm"; };', LIMIT_WITH_RENDER_NODES, id="rocm"
        ),
    ],
)
def test_the_unit_is_confined(nix, tmp_path, host, limit):
    """`systemd-analyze security` finds the unit no more exposed than it has to be."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    version = int(
        re.findall(
            r"\d+", subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
        )[0]
    )
    text = nix.machine(
        f'{{ {host} services.llama-swap = {{ enable = true; models.m.path = "/w"; }}; }}',
        'config.rendered."llama-swap.service"',
    )
    if version < 257:
        # Older ones do not know the value and would count it as no protection at all.
        text = text.replace("ProtectControlGroups=private", "ProtectControlGroups=true")
    unit = tmp_path / "llama-swap.service"
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={limit}", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.splitlines()[-2:] + done.stderr.splitlines()
