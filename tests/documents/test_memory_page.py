"""docs/memory.md says what is so: its configurations load, its commands exist, its statuses are those of the table."""

import json
import re
import shlex
from pathlib import Path

import pytest

from llama_swap.api import residency, yielding
from llama_swap.api.errors import TABLE
from llama_swap.cli.arguments import parse
from llama_swap.config import PortBook, load_config
from llama_swap.scheduler.policy.ruling import RuleKind
from llama_swap.scheduler.spec import WhileYielded

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "memory.md").read_text()


def blocks(language):
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def configured(tmp_path):
    """What each YAML block comes to, beside the first one."""

    def load(block):
        sources = [tmp_path / "first.yaml", tmp_path / "block.yaml"]
        for path, text in zip(sources, (blocks("yaml")[0], block), strict=True):
            path.write_text(text)
        for name in ("family-keys", "agent-keys"):
            (tmp_path / name).write_text(f"sk-{name}\n")
        env = {"CREDENTIALS_DIRECTORY": str(tmp_path), "HOME": str(tmp_path)}
        return load_config(sources, env=env, ports=PortBook(lambda _port: True))

    return load


@pytest.mark.parametrize("block", [*blocks("yaml")[1:], ""], ids=lambda block: block.partition("\n")[0])
def test_configurations_load(configured, block):
    """Every piece of YAML is right beside the first one, and nothing about it is worth a warning."""
    assert configured(block).warnings == ()


def test_what_the_page_says_of_its_configurations(configured):
    """Together they come to what the text says."""
    config = configured("\n".join(blocks("yaml")[1:]))
    specs = config.scheduler.models
    assert config.scheduler.fit is not None
    assert not config.scheduler.fit.when_measured
    assert (specs["embedder"].pin, specs["chat"].pin) == (True, False)
    assert config.models["chat"].vram_bytes == 9 * 1024**3
    assert config.keep_alive_max_seconds == 4 * 3600
    assert config.scheduler.yielding.requests is WhileYielded.WAIT
    callers = {key: (caller.name, caller.priority) for key, caller in config.api_callers.items()}
    assert callers == {"sk-family-keys": ("family", 1), "sk-agent-keys": ("agents", 0)}


def shown_commands():
    """The words of every command of ours on the page."""
    lines = [line.partition(" #")[0].strip() for text in blocks("console") for line in text.splitlines()]
    inline = re.findall(r"`(llama-swap [^`]+)`", PAGE)
    shown = [line.removeprefix("$ ") for line in lines if line.startswith("$ llama-swap")] + inline
    return sorted({command.removeprefix("llama-swap ") for command in shown})


@pytest.mark.parametrize("command", shown_commands())
def test_commands_exist(command):
    """Each can be typed as it stands there."""
    assert parse(shlex.split(command)).run is not None


def test_requests_can_be_sent():
    """Each shown request has a JSON body for a route that there is."""
    routes = {route.path for route in (*residency.routes(), *yielding.routes())} | {"/v1/chat/completions"}
    shown = [line for text in blocks("console") for line in text.splitlines() if line.startswith("$ curl")]
    assert len(shown) >= 2
    for line in shown:
        _, url, _, body = shlex.split(line.removeprefix("$ "))
        assert url.removeprefix("http://127.0.0.1:9292") in routes
        assert {"model", "keep_alive"} <= set(json.loads(body))


def test_statuses_are_those_of_the_table():
    """Status and code of each row belong together, and only one of these is to be tried again."""
    table = {(row.status, row.code): row.retry for row in TABLE.values()}
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert len(rows) == 5
    assert [code for status, code in rows if table[int(status), code] is not False] == ["memory_unknown"]
    assert "Each but `memory_unknown` has `x-should-retry: false`" in PAGE


def test_rules_are_called_by_their_names():
    """What `router:` of `ps` may say can be configured."""
    assert {kind.value for kind in RuleKind} == {"fit", "group", "matrix"}
    assert f"use: {RuleKind.FIT}" in PAGE


def test_nothing_is_left_to_fill_in():
    """No section is a mark."""
    assert not re.findall(r"^[A-Z]{4,}$", PAGE, re.MULTILINE)
