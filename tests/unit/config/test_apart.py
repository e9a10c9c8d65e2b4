"""A configuration that another process reads."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llama_swap import config as package
from llama_swap.config import ConfigError, Loading, PortBook, load_config

SEED = Path(__file__).parents[2] / "data" / "seed_config.yaml"
RICH = """
apiKeys: [{key: "${env.SECRET}", name: me}]
macros: {where: "${env.WHERE}"}
upstream: {ignorePaths: ["[.]js$"]}
models:
  a: {cmd: "srv --port ${PORT} ${where}", aliases: [b], metadata: {port: "${PORT}"}, filters: {setParams: {x: [1]}}}
  c: {cmd: x, proxy: "http://127.0.0.1:9"}
selectors: {s: {strategy: pin, targets: [a]}}
peers: {p: {proxy: "https://peer", models: [m]}}
profiles: {day: {pins: {a: c}}}
"""
ENV = {"SECRET": "k", "WHERE": "é"}


@pytest.fixture
def rich(tmp_path):
    """A file with something of everything."""
    path = tmp_path / "config.yaml"
    path.write_text(RICH, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["seed", "rich"])
def test_it_is_what_a_load_here_gives(name, rich):
    """Every value arrives, patterns and paths included."""
    sources = [{"seed": SEED, "rich": rich}[name]]
    here, book = PortBook(), PortBook()
    expected = load_config(sources, env=ENV, ports=here)
    config = Loading(sources, env=ENV, ports=book).wait()
    assert config == expected
    assert dict(book.given) == dict(here.given)


def test_ports_stay_after_a_reload(rich):
    """The book of the service goes there and back."""
    book = PortBook()
    first = Loading([rich], env=ENV, ports=book).wait()
    rich.write_text(rich.read_text(encoding="utf-8").replace("  a:", "  0: {cmd: '${PORT}'}\n  a:"), encoding="utf-8")
    second = Loading([rich], env=ENV, ports=book).wait()
    assert second.models["a"].port == first.models["a"].port != second.models["0"].port


def test_what_is_wrong_arrives(tmp_path):
    """All problems, and no port was given out."""
    path = tmp_path / "config.yaml"
    path.write_text("models: {m: {cmd: '${PORT}', nope: 1}}\nnothing: 2")
    with pytest.raises(ConfigError) as expected:
        load_config([path], env={}, ports=PortBook())
    book = PortBook()
    loading = Loading([path], env={}, ports=book)
    with pytest.raises(ConfigError) as caught:
        loading.wait()
    assert caught.value.problems == expected.value.problems
    assert len(caught.value.problems) == 2
    assert not book.given


def test_another_port(rich):
    """A model moves as it does in a configuration that was loaded here; the schema is not needed for it."""
    expected = load_config([rich], env=ENV, ports=PortBook())
    config = Loading([rich], env=ENV, ports=PortBook()).wait()
    assert config.rebind("a", 7001) == expected.rebind("a", 7001) != config.models["a"]
    assert config.rebind("c", 7001) == config.models["c"]
    with pytest.raises(KeyError):
        config.rebind("nobody", 7001)


def test_a_large_environment_goes_through(rich):
    """More than a pipe holds."""
    config = Loading([rich], env=ENV | {f"V{i}": "x" * 1000 for i in range(300)}, ports=PortBook()).wait()
    assert set(config.models) == {"a", "c"}


def test_a_process_that_is_killed(rich):
    """It is an error of the machine's and not of the file."""
    loading = Loading([rich], env=ENV, ports=PortBook())
    os.kill(loading.pid, signal.SIGKILL)
    with pytest.raises(OSError, match="status -9"):
        loading.wait()


def test_no_process_can_be_started(rich, monkeypatch):
    """That is said at once."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(OSError, match="nowhere"):
        Loading([rich], env=ENV, ports=PortBook())


def test_nothing_is_imported_from_where_the_service_was_started(rich, monkeypatch, tmp_path):
    """Only where we look ourselves: a folder that others write to is no place for code."""
    (tmp_path / "yaml.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert Loading([rich], env=ENV, ports=PortBook()).wait().models


FORKED = """
import os, signal, sys
from pathlib import Path
from llama_swap.config import ConfigError, Loading, PortBook

def load(text):
    Path("config.yaml").write_text(text)
    return Loading([Path("config.yaml")], env={}, ports=book, fork=True)

book = PortBook()
model = load("models: {a: {cmd: 'srv ${PORT}'}}").wait().models["a"]
assert model.argv == ("srv", str(model.port)) and book.given["a"] == (5800, model.port)
try:
    load("nope: 1").wait()
except ConfigError as error:
    assert "nope" in error.problems[0].rule
else:
    raise SystemExit("not refused")
loading = load("{}")
os.kill(loading.pid, signal.SIGKILL)
try:
    loading.wait()
except OSError as error:
    assert "status -9" in str(error)
else:
    raise SystemExit("not noticed")
assert not {"pydantic", "pydantic_core", "yaml"} & set(sys.modules)
assert "PYDANTIC_DISABLE_PLUGINS" not in os.environ
"""


def test_a_copy_of_this_process_does_the_same(tmp_path):
    """It reads, refuses and can be killed; in a process of its own, for this one may have threads."""
    subprocess.run([sys.executable, "-c", FORKED], cwd=tmp_path, check=True)


def test_no_copy_can_be_made(rich, monkeypatch):
    """Nothing stays open."""

    def fork():
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", fork)
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    with pytest.raises(OSError, match="no more"):
        Loading([rich], env=ENV, ports=PortBook(), fork=True)
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_the_service_never_has_the_schema(rich):
    """Neither a load nor another port brings it in; what asks for it by name does."""
    code = """
import os, sys
from pathlib import Path
import llama_swap.config as config
loaded = config.Loading([Path(sys.argv[1])], env={"SECRET": "k", "WHERE": "w"}, ports=config.PortBook()).wait()
loaded.rebind("a", 7001)
assert not {"pydantic", "pydantic_core", "yaml"} & set(sys.modules)
config.load_config
assert {"pydantic", "pydantic_core", "yaml"} <= set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, rich], check=True)


def test_an_unknown_name():
    """The door of the package has no others."""
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        package.nothing_of_the_kind  # noqa: B018
