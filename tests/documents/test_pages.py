"""All pages: what they link to is there, and tables of files and layers are whole."""

import ast
import re
from pathlib import Path

import pytest

import llama_swap

ROOT = Path(__file__).parents[2]
SOURCE = Path(llama_swap.__file__).parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")])


def anchor_of(heading):
    """The anchor that a heading gets where Markdown is shown."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def leads_somewhere(page, link):
    """Whether a link to a file, to a heading or to both finds them."""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists():
        return False
    return not anchor or anchor in map(anchor_of, re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """To a file of the repository, and to a heading in it."""
    links = re.findall(r"\]\((?!http)([^)]+)\)", page.read_text())
    assert [link for link in links if not leads_somewhere(page, link)] == []


def test_a_link_that_leads_nowhere_is_found():
    """Neither another file nor another heading will do."""
    page = ROOT / "docs" / "performance.md"
    assert leads_somewhere(page, "scheduler.md#memory")
    assert leads_somewhere(page, "#what-bounds-us")
    assert not leads_somewhere(page, "shceduler.md")
    assert not leads_somewhere(page, "scheduler.md#memoir")


def test_the_scheduler_page_has_every_file_of_the_scheduler():
    """And none that is not there."""
    table = re.findall(r"^\| (`.+?\.py`.*?) \|", (ROOT / "docs" / "scheduler.md").read_text(), re.MULTILINE)
    named = {name for row in table for name in re.findall(r"`([\w/]+\.py)`", row)}
    package = SOURCE / "scheduler"
    files = {str(path.relative_to(package)) for path in package.rglob("*.py")}
    assert named == {name for name in files if not name.endswith("__init__.py")}


def ranks():
    """The layers as the test of the architecture has them."""
    tree = ast.parse((ROOT / "tests" / "unit" / "test_architecture.py").read_text())
    assignments = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    return ast.literal_eval(assignments["RANKS"])


def test_the_architecture_page_has_every_layer():
    """Each part of the package with its rank; what only calls the command is left out."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (\d) \| (`[^|]+) \|", page, re.MULTILINE)
    shown = {part: int(rank) for rank, parts in rows for part in re.findall(r"`(\w+)`", parts)}
    assert shown == {part: rank for part, rank in ranks().items() if part != "__main__"}
