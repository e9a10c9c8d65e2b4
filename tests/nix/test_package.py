"""The check phase of the package has what it needs: its file set alone, without what nixpkgs lacks."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "nix" / "package.nix").read_text()
FOLDERS = re.findall(r'"\.\./(tests/[a-z]+)"', RECIPE)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """What `src` of the package holds, and nothing else."""
    parts = re.findall(r"^ +(?:\(lib\.fileset\.maybeMissing )?\.\./([\w./]+)\)?$", RECIPE, flags=re.MULTILINE)
    assert {"LICENSE", "python/pyproject.toml", "python/src", *FOLDERS} <= set(parts)
    folder = tmp_path_factory.mktemp("source") / "source"
    for part in parts:
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / part).exists():
            shutil.copy(ROOT / part, target)
    return folder


def collect(source: Path, absent: str) -> subprocess.CompletedProcess[str]:
    """Collect the tests that the check phase runs, with a library made unimportable."""
    blocked = source.parent / "absent"
    blocked.mkdir()
    (blocked / f"{absent}.py").write_text(f"raise ModuleNotFoundError({absent!r} + ' is not in nixpkgs')\n")
    # Nothing is run, so assertions need not be made to explain themselves, which takes half of the time.
    options = ["--collect-only", "-q", "-p", "no:cacheprovider", "--assert=plain", "-m", "not slow"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(f"../{name}" for name in FOLDERS)],
        cwd=source / "python",
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(blocked), "src"])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_file_set_is_enough(source):
    """Every test file of the check phase can be read where there are no pages and no llama.cpp for Python."""
    assert not (source / "docs").exists()
    done = collect(source, "xllamacpp")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "scheduler/test_" in done.stdout
    assert "unit/demo/test_tiny_gguf.py::" in done.stdout
    assert "unit/demo/test_server.py::" not in done.stdout


def test_the_check_phase_has_its_libraries(nix):
    """The extra for tests is there as pyproject.toml has it, and what writes tiny models."""
    project = tomllib.loads((ROOT / "python" / "pyproject.toml").read_text())["project"]
    names = nix.evaluate(
        f"map (input: input.name) (pkgs.callPackage {ROOT}/nix/package.nix {{ }}).arguments.nativeCheckInputs"
    )
    declared = [re.split(r"[^A-Za-z0-9._-]", word)[0].lower() for word in project["optional-dependencies"]["test"]]
    assert names == [*declared, "gguf", "pytestCheckHook"]


def named_outside(source, text):
    """What a test names beside the package, as far as it is not in the file set."""
    names = re.findall(r'(?:ROOT|parents\[[23]\]\)?) / "([\w.]+)', text)
    return [name for name in names if not any((place / name).exists() for place in (source, source / "tests"))]


def test_nothing_beyond_the_file_set_is_read(source):
    """No test of the check phase names what is not there, unless it is skipped then."""
    texts = {file: file.read_text() for folder in FOLDERS for file in (source / folder).rglob("*.py")}
    guilty = {
        str(file.relative_to(source)): names
        for file, text in texts.items()
        if (names := named_outside(source, text)) and "not PAGE.parent.exists()" not in text
    }
    assert guilty == {}


def test_linting_has_every_stub():
    """The type check of the flake gets what pyproject.toml's extra names, not a list of its own."""
    text = (ROOT / "nix" / "checks" / "lint.nix").read_text()
    assert 'requirements.extras [ "lint" ]' in text
    assert "packages.types-" not in text
