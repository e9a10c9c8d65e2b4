"""The layers of the package, the limits of its files, and what nobody may do: checked on the source itself."""

import ast
from pathlib import Path

import pytest

import llama_swap

SOURCE = Path(llama_swap.__file__).parent
PACKAGE = "llama_swap"

RANKS = {
    "__main__": 6,  # only calls the command
    "cli": 5,
    "demo": 5,
    "app": 4,
    "testing": 4,
    "api": 3,
    "supervisor": 2,
    "reporter": 2,  # what the supervisor's observer tells the logs and the service manager
    "process": 1,
    "proxy": 1,
    "gpu": 1,
    "footprint": 1,  # what a model needs, before it runs and after
    "config": 1,
    "activity": 1,
    "metrics": 1,
    "logs": 1,
    "broadcast": 0,  # one stream of events to many listeners; knows nothing of what is in it
    "notify": 1,
    "listen": 1,  # addresses to sockets and back
    "scheduler": 0,
    "errors": 0,
    "dial": 0,  # URLs to addresses and TLS, for the data plane and for the readiness probe
    "durations": 0,  # times as people write them, for the command line and for request bodies
}
"""A part may import parts of a lower rank, and its own. A new file at the top needs a row here, with a reason."""

SCHEDULER_MAY_IMPORT = {"collections", "dataclasses", "enum", "itertools", "math", "typing"}
FORBIDDEN_CALLS = {"create_task", "ensure_future"}
FILE_LINES = 400
FUNCTION_LINES = 50


def _files():
    return sorted(path for path in SOURCE.rglob("*.py") if "__pycache__" not in path.parts)


def _part(path):
    """The part a file belongs to; the package's own ``__init__`` belongs to none."""
    relative = path.relative_to(SOURCE)
    return relative.parts[0].removesuffix(".py")


def _module(path):
    return (PACKAGE, *path.relative_to(SOURCE).with_suffix("").parts)


def _imports(path, tree):
    """Every imported module, as a dotted name; relative imports resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _module(path)[: -node.level] if node.level else ()
            origin = ".".join((*base, *((node.module,) if node.module else ())))
            yield from (f"{origin}.{alias.name}" if origin == PACKAGE else origin for alias in node.names)


def _forbidden_imports(path, tree):
    part = _part(path)
    for name in _imports(path, tree):
        top, *rest = name.split(".")
        if top != PACKAGE:
            if part == "scheduler" and top not in SCHEDULER_MAY_IMPORT:
                yield f"{path.name}: the scheduler imports {name}"
        elif rest and part == "scheduler" and rest[0] != part:
            yield f"{path.name}: the scheduler imports {name}"
        elif rest and rest[0] in RANKS and rest[0] != part and RANKS[rest[0]] >= RANKS.get(part, 0):
            yield f"{path.name}: {part} imports {name}"


def _too_long(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{node.name}: {lines} lines"


def _spawns(tree):
    """Tasks outside of a TaskGroup: ``asyncio.create_task`` and its relatives, however they are imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_CALLS:
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if node.attr == "ensure_future" or owner in {"asyncio", "loop"}:
                yield node.lineno
        if isinstance(node, ast.ImportFrom) and node.module == "asyncio":
            yield from (node.lineno for alias in node.names if alias.name in FORBIDDEN_CALLS)


@pytest.fixture(params=_files(), ids=lambda path: str(path.relative_to(SOURCE)))
def path(request):
    """Each source file in turn."""
    return request.param


@pytest.fixture
def tree(path):
    """Its syntax tree."""
    return ast.parse(path.read_text())


def test_every_part_has_a_rank(path):
    """A new part has to say where it belongs, so that there is no place for a bag of helpers."""
    assert _part(path) in {*RANKS, "__init__"}


def test_imports_go_down(path, tree):
    """Parts of one rank do not know each other; the scheduler knows nothing but itself and plain Python."""
    assert list(_forbidden_imports(path, tree)) == []


def test_files_are_short(path):
    """A file that needs more is two files."""
    assert len(path.read_text().splitlines()) <= FILE_LINES


def test_functions_are_short(tree):
    """A function that needs more is two functions."""
    assert list(_too_long(tree)) == []


def test_only_task_groups_spawn(tree):
    """A task that nobody waits for loses its errors."""
    assert list(_spawns(tree)) == []


@pytest.mark.parametrize(
    ("file", "source", "finding"),
    [
        ("scheduler/machine.py", "import time", "the scheduler imports time"),
        ("scheduler/machine.py", "from llama_swap import errors", "the scheduler imports llama_swap.errors"),
        ("proxy/body.py", "from llama_swap.config import load", "proxy imports llama_swap.config"),
        ("config/load.py", "from ..api import errors", "config imports llama_swap.api"),
        ("api/openai.py", "import llama_swap.app", "api imports llama_swap.app"),
    ],
)
def test_a_wrong_import_is_found(file, source, finding):
    """The test itself can fail."""
    path = SOURCE / file
    (found,) = _forbidden_imports(path, ast.parse(source))
    assert finding in found


def test_a_stray_task_is_found():
    """In every spelling."""
    for source in ("asyncio.create_task(f())", "from asyncio import ensure_future", "asyncio.ensure_future(f())"):
        assert list(_spawns(ast.parse(source)))
    assert not list(_spawns(ast.parse("tasks.create_task(f())")))


def test_a_long_function_is_found():
    """Counted with its signature and docstring."""
    body = "\n".join(["    pass"] * FUNCTION_LINES)
    assert list(_too_long(ast.parse(f"def f():\n{body}")))
