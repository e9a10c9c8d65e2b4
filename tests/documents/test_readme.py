"""The README says what is true: its configuration loads, its commands exist."""

import re
from pathlib import Path

import pytest

from llama_swap.cli.arguments import parse
from llama_swap.config import PortBook, load_config

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language):
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_it_is_short():
    """Whoever wants more finds it in docs/."""
    assert README.count("\n") <= 200


def test_configuration_loads(tmp_path):
    """Every YAML block is a whole configuration."""
    assert blocks("yaml")
    for number, text in enumerate(blocks("yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        config = load_config([path], env={}, ports=PortBook(lambda _port: True))
        assert {"coder", "chat", "gpt-4o"} <= set(config.names)
        assert "--chat-template-kwargs" in config.models["chat"].argv
        assert '{"enable_thinking": false}' in config.models["chat"].argv


def test_nixos_example_is_the_one_that_is_evaluated():
    """The first Nix block stands in docs/nixos.md too, where a test evaluates it."""
    assert blocks("nix")[0] in (ROOT / "docs/nixos.md").read_text()


def test_commands_exist():
    """Every llama-swap command line shown is one."""
    lines = [line.partition("#")[0].split()[2:] for text in blocks("console") for line in text.splitlines()]
    commands = [words for line, words in zip(_shown(), lines, strict=True) if line.startswith("$ llama-swap")]
    assert len(commands) >= 4
    for words in commands:
        assert parse(words).run is not None


def _shown():
    return [line for text in blocks("console") for line in text.splitlines()]


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_targets_exist(target):
    """The two commands of the README are targets of the Makefile."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
