"""The documentation of the configuration, the schema and the code say the same."""

import json
import re
from copy import deepcopy
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_swap.config import ConfigError, PortBook, json_schema, load_config, reference, render_check
from llama_swap.config.tree import Array, Table
from llama_swap.config.yaml12 import parse_yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"
EXAMPLE = ROOT / "docs" / "example.yaml"
KEYS = ROOT / "tests" / "data" / "llama_swap_keys.txt"

BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
OLDER_SPELLINGS = re.compile(
    r"groups\b|matrix\b|models\.NAME\.filters\.strip_params|peers\.NAME\.filters\.strip_params"
)


def keys_of_llama_swap():
    """Every key of llama-swap's configuration."""
    return {line for line in KEYS.read_text().splitlines() if not line.startswith("#")}


def test_tables_are_fresh():
    """`make docs` would change nothing."""
    page = PAGE.read_text()
    assert reference.with_tables(page) == page, "run `make docs`"


def test_every_key_has_a_row():
    """The tables have what the JSON Schema has, key by key."""
    schema = json_schema()
    tables = reference.render_tables()
    for part in (schema, *schema["$defs"].values()):
        for key in part["properties"]:
            assert f"\n| `{key}` |" in tables
    rows = [line for line in tables.split("\n") if line.startswith("| `")]
    assert len(rows) == sum(len(part["properties"]) for part in (schema, *schema["$defs"].values()))
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)


def test_every_key_of_llama_swap_is_there():
    """What is not marked as an addition is llama-swap's, and nothing of llama-swap's is missing."""
    same = {path for path, field in reference.key_paths() if not reference.is_addition(field)}
    assert same - keys_of_llama_swap() == {"peers.NAME.filters.strip_params"}
    assert keys_of_llama_swap() - same == set()
    assert {path for path, field in reference.key_paths() if reference.is_addition(field)} == {
        *("allowedHosts", "maxBodySize", "models.NAME.healthCheckTimeout", "store.maxRows", "store.maxAgeDays"),
        *("matrix.tieBreak", "routing.router.settings.matrix.tieBreak", "routing.router.settings.fit"),
        *(f"models.NAME.{key}" for key in ("vram", "ram", "pin", "evictCost")),
        *(f"apiKeys.{key}" for key in ("key", "file", "credential", "name", "priority")),
        *("yield", "yield.freeBelow", "yield.drain", "yield.returnAfter", "yield.requests"),
        *("keepAlive", "keepAlive.honour", "keepAlive.max"),
        *(
            f"routing.router.settings.fit.{key}"
            for key in ("headroom", "hostHeadroom", "minResidency", "releaseTimeout", "readAhead", "askLlamaCpp")
        ),
        *("routing.router.settings.fit.learned", "routing.scheduler.settings.fifo.fairShare"),
        *(
            f"routing.scheduler.settings.fifo.{key}"
            for key in ("maxWait", "queueLimit", "queueTimeout", "backoffAfterFailures", "backoffFirst", "backoffMax")
        ),
    }


def test_a_page_needs_its_marks():
    """Without them the tables would go nowhere."""
    with pytest.raises(ValueError, match="needs a line"):
        reference.with_tables("# Page\n")


def test_writing_pages(tmp_path, monkeypatch):
    """The command writes what is between the marks and leaves the rest."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{reference.BEGIN}\nyesterday\n{reference.END}\nafter\n")
    monkeypatch.setattr(reference.sys, "argv", ["reference", str(page)])
    reference.main()
    text = page.read_text()
    assert text.startswith(f"before\n{reference.BEGIN}\n\n### The file\n")
    assert text.endswith(f"\n\n{reference.END}\nafter\n")
    assert "yesterday" not in text


@pytest.fixture
def secrets(tmp_path):
    """Files of keys and variables that the documentation speaks of."""
    for name in ("team.keys", "cloud.key", "api-keys"):
        (tmp_path / name).write_text(f"sk-of-{name}\n")
    names = {"CREDENTIALS_DIRECTORY": str(tmp_path), "STATE": str(tmp_path), "MODELS": "/srv/models"}
    return {**names, "LLM_KEY": "sk-llm-key", "CLOUD_KEY": "sk-cloud-key"}


@pytest.mark.parametrize("block", BLOCKS[1:], ids=lambda block: block.split("\n")[0])
def test_blocks_of_the_page(tmp_path, secrets, monkeypatch, block):
    """Every piece of YAML that is shown loads, beside the first one, and `check` has nothing to say against it."""
    monkeypatch.chdir(tmp_path)
    sources = [tmp_path / "first.yaml", tmp_path / "block.yaml"]
    for path, text in zip(sources, (BLOCKS[0], block), strict=True):
        path.write_text(text)
    config = load_config(sources, env=secrets, ports=PortBook(lambda _port: True))
    assert config.warnings == ()


def test_what_the_page_says_of_the_first_block(tmp_path):
    """Comment lines are gone, quotes are understood."""
    path = tmp_path / "first.yaml"
    path.write_text(BLOCKS[0])
    config = load_config([path], env={}, ports=PortBook(lambda _port: True))
    assert config.models["tiny"].argv[-1] == '{"enable_thinking": false}'
    assert config.models["coder"].ttl_seconds == 600
    assert len(config.models["tiny"].argv) == 7


def key_path(path):
    """A path of keys as the schema has it, with NAME for the names of the file's author."""
    text = ".".join(path)
    for section in ("models", "groups", "profiles", "selectors", "peers", "routing.router.settings.groups"):
        head = section.split(".")
        if path[: len(head)] == tuple(head) and len(path) > len(head):
            return ".".join((section, "NAME", *path[len(head) + 1 :]))
    return text


def paths_in(node, path=()):
    """Every path of keys in a document."""
    if isinstance(node, Table):
        for key, child in node.entries.items():
            yield (*path, key)
            yield from paths_in(child, (*path, key))
    elif isinstance(node, Array):
        for child in node.items:
            yield from paths_in(child, path)


def test_example_has_every_key():
    """No key is missing from the example but older spellings."""
    shown = {key_path(path) for path in paths_in(parse_yaml(EXAMPLE.read_text(), EXAMPLE))}
    missing = {path for path, _ in reference.key_paths()} - shown
    assert {path for path in missing if not OLDER_SPELLINGS.match(path)} == set()


def test_example_loads(tmp_path, secrets):
    """The example is right, and `check` shows everything in it but the secrets."""
    path = tmp_path / "config.yaml"
    path.write_text(EXAMPLE.read_text())
    config = load_config([path], env=secrets, ports=PortBook(lambda _port: True))
    assert {problem.key for problem in config.warnings} == {"logRequests"}
    assert config.preload == ("small", "coder")
    assert config.models["coder"].argv[-2] == "32768"
    text = render_check(config, redact_env=secrets)
    for shown in ("SET   MAY RUN TOGETHER", "SELECTOR", "PROFILE", "PEER", "coder:fast", "cloud", "activity.sqlite"):
        assert shown in text
    assert "\nrouter: matrix\nnote: vram, ram and evictCost mean nothing to this router: coder\n" in text
    assert "sk-" not in text


VALUES = st.sampled_from(
    [
        *(None, "", " ", 0, -1, 1.5, True, 10**30, [], {}, [None], [""], {"": ""}, {"coder": 1}, {"file": "team.keys"}),
        *("coder", "chat", "cloud/large", "${PORT}", "${PID}", "${env.X}", "${server}", "${zz}", "(", "+pair", "a & b"),
        *("pin", "spillover", "matrix", "group", "http://", "x" * 100, ["coder", "zz"], {"coder": "coder"}),
    ]
)


def places_in(value, path=()):
    """Every path in plain data but that of the whole."""
    if isinstance(value, dict | list):
        for step, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, step)
            yield from places_in(child, (*path, step))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_change_to_the_example_is_understood(tmp_path, secrets, data):
    """Whatever one or two of its values become, loading ends in a configuration that can be shown, or in problems."""
    content = yaml.safe_load(EXAMPLE.read_text())
    for _ in range(data.draw(st.integers(1, 2))):
        *above, last = data.draw(st.sampled_from(list(places_in(content))))
        holder = reduce(getitem, above, content)
        holder[last] = deepcopy(data.draw(VALUES))  # the second change may be within the first one's value
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(content))
    missing = data.draw(st.booleans())
    problems = ()
    try:
        config = load_config([path], env=secrets, ports=PortBook(lambda _port: True), allow_missing_env=missing)
        shown = render_check(config, redact_env=secrets)
    except ConfigError as error:
        problems, shown = error.problems, str(error)
    assert shown
    assert "sk-llm-key" not in shown
    assert all(problem.rule and problem.line == 1 for problem in problems)
