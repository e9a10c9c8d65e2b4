"""Every Nix file can be read, by Nix and by people."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    [*ROOT.glob("*.nix"), *(ROOT / "nix").rglob("*.nix"), *(ROOT / "tests").rglob("*.nix")],
)
LONGEST = 350


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_nix_file_parses(nix, path):
    """Nix accepts the syntax of the file."""
    done = nix.run("nix-instantiate", "--parse", str(path))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_nix_file_is_short(path):
    """A file that does not fit a reader's head is split."""
    assert len(path.read_text().splitlines()) <= LONGEST


def test_the_flake_is_a_table_of_contents():
    """flake.nix says what there is; how it is made stands under nix/."""
    assert len((ROOT / "flake.nix").read_text().splitlines()) <= 80
