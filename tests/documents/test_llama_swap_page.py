"""docs/llama-swap.md names every key and route of llama-swap, and what it says about keys is so."""

import re
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from llama_swap.api import build_application
from llama_swap.config import ConfigError, PortBook, load_config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "llama-swap.md").read_text()
KEYS, ROUTES = (
    [row.split(" | ") for row in part.split("\n") if row.startswith("| `")]
    for part in re.split(r"^## (?:Keys|Routes)$", PAGE, flags=re.MULTILINE)[1:]
)
VERDICTS = {"same", "better", "different"}
CMD = "cmd: 'srv ${PORT}'"
A = f"models: {{a: {{{CMD}}}}}"


def names_of(rows):
    """What stands in backticks in the first column."""
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row[0])]


def load(tmp_path, text, **options):
    """A configuration from text."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load_config([path], env={}, ports=options.pop("ports", PortBook(lambda _port: True)), **options)


def test_every_key_is_judged():
    """Each key of llama-swap's has one verdict, and a reason unless it is the same."""
    listed = names_of(KEYS)
    known = (ROOT / "tests" / "data" / "llama_swap_keys.txt").read_text().splitlines()[1:]
    assert sorted(listed) == sorted(known)
    for row in (*KEYS, *ROUTES):
        assert row[1] in VERDICTS, row
        assert row[1] == "same" or row[2].strip(" |"), row


REFUSED = {
    "logLevel": "logLevel: loud",
    "logTimeFormat": "logTimeFormat: swatch",
    "models.NAME.aliases": f"models: {{a: {{{CMD}}}, b: {{{CMD}, aliases: [a]}}}}",
    "models.NAME.env": f"models: {{a: {{{CMD}, env: [X]}}}}",
    "groups.NAME.members": "groups: {g: {members: [zz]}}",
    "routing.router.settings.groups.NAME.members": "routing: {router: {settings: {groups: {g: {members: [zz]}}}}}",
    "hooks.on_startup.preload": "hooks: {on_startup: {preload: [zz]}}",
    "upstream.ignorePaths": "upstream: {ignorePaths: ['[[:alpha:]]']}",
    "macros": "macros: {x: '${y}', y: '${x}'}",
    "models.NAME.macros": f"models: {{a: {{{CMD}, macros: {{x: '${{x}}'}}}}}}",
    "startPort": "startPort: 65536",
}
"""Key -> what llama-swap takes without a word, and we do not."""

COMES_TO = {
    "healthCheckTimeout": ("healthCheckTimeout: 3", lambda c: c.models["a"].health_check_timeout_seconds == 3),
    "unloadTimeout": ("unloadTimeout: 4", lambda c: c.scheduler.models["a"].stop_grace_seconds == 4),
    "routing.router.use": ("", lambda c: c.scheduler.fit.when_measured),
    "captureBuffer": ("", lambda c: c.capture_buffer_bytes == 0),
    "performance.every": ("performance: {every: 7}", lambda c: c.performance_every_seconds == 7),
    "routing.scheduler.settings.fifo.priority": (
        "routing: {scheduler: {settings: {fifo: {priority: {a: 3}}}}}",
        lambda c: c.scheduler.models["a"].priority == 3 and c.scheduler.limits.max_wait_seconds == 10,
    ),
    "models.NAME.concurrencyLimit": ("", lambda c: c.models["a"].concurrency_limit == 0),
    "peers.NAME.apiKey": ("peers: {p: {proxy: 'http://h', models: [x]}}", lambda c: c.peers["p"].api_key is None),
    "macros": ("macros: {x: '${y}', y: 7}\nglobalTTL: '${x}'", lambda c: c.models["a"].ttl_seconds == 7),
}
"""Key -> what it is set to beside one model, and what must hold then."""

MODEL_COMES_TO = {
    "models.NAME.cmd": ("cmd: [srv, '${PORT}']", lambda m: m.argv == ("srv", "5800")),
    "models.NAME.unloadTimeout": (f"{CMD}, unloadTimeout: 3", lambda m: m.unload_timeout_seconds == 3),
    "models.NAME.macros": (f"{CMD}, macros: {{x: '${{y}}', y: z}}, name: '${{x}}'", lambda m: m.name == "z"),
    "models.NAME.concurrencyLimit": (f"{CMD}, concurrencyLimit: 11", lambda m: m.concurrency_limit == 11),
}

ELSEWHERE = {
    "logToStdout": "unit/test_logs and integration tests of reloading",
    "globalTTL": "scheduler: idle time counts from becoming ready",
    "models.NAME.ttl": "scheduler: idle time counts from becoming ready",
    "sendLoadingState": "unit/api",
    "apiKeys": "unit/config/test_apikeys, unit/api/test_auth",
    "models.NAME.proxy": "unit/config/test_ports",
    "models.NAME.timeouts.keepalive": "an absence",
    "models.NAME.timeouts.expectContinue": "an absence",
    "models.NAME.timeouts.idleConn": "unit/supervisor/test_translate",
    "performance.disabled": "unit/api/test_metrics",
    "selectors.NAME.targets": "integration/test_names",
    "peers.NAME.timeouts.keepalive": "an absence",
    "peers.NAME.timeouts.expectContinue": "an absence",
}
"""Claims that take more than a configuration to prove, and where they are."""


def test_every_claim_about_a_key_has_a_proof():
    """What is not the same is proved here or named with its place."""
    claimed = set(names_of(row for row in KEYS if row[1] != "same"))
    assert claimed == {*REFUSED, *COMES_TO, *MODEL_COMES_TO, *ELSEWHERE}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_refused(tmp_path, text):
    """What cannot be meant so is an error."""
    with pytest.raises(ConfigError):
        load(tmp_path, text)


@pytest.mark.parametrize(("text", "holds"), COMES_TO.values(), ids=COMES_TO.keys())
def test_comes_to(tmp_path, text, holds):
    """What a key of the file comes to."""
    assert holds(load(tmp_path, f"{A}\n{text}"))


@pytest.mark.parametrize(("keys", "holds"), MODEL_COMES_TO.values(), ids=MODEL_COMES_TO.keys())
def test_model_comes_to(tmp_path, keys, holds):
    """What a key of a model comes to."""
    assert holds(load(tmp_path, f"models: {{a: {{{keys}}}}}").models["a"])


def test_busy_ports_are_skipped(tmp_path):
    """The first free port from `startPort` on is taken."""
    config = load(tmp_path, A, ports=PortBook(lambda port: port > 5802))
    assert config.models["a"].port == 5803


def served():
    """Every route of the service, with the words of the page for what is variable in it."""
    application = build_application(MagicMock())
    for route in application.router.routes():
        path = route.resource.canonical if route.resource is not None else ""
        yield f"{'ANY' if route.method == '*' else route.method} {path}"


VARIABLE = {"ID": "{id}", "MODEL": "{model}", "LOG": "{monitor}", "PATH": "{path}"}


def route_of(words):
    """A route of the page as the application has it."""
    method, path = words.replace("MODEL/PATH", "PATH").split(" ")
    return f"{method} " + "/".join(VARIABLE.get(step, step) for step in path.split("/"))


def test_every_route_is_served():
    """Each route that the page names is one of the service."""
    ours = set(served())
    assert {words for words in names_of(ROUTES) if route_of(words) not in ours} == set()


def test_every_route_of_ours_is_named():
    """The page has no route less than the service, those included that llama-swap lacks."""
    only_here = re.findall(r"`([A-Z]+ /[^`]*)`", PAGE[PAGE.index("\nOnly here: ") :])
    named = {route_of(words) for words in (*names_of(ROUTES), *only_here)}
    # aiohttp adds HEAD to every GET.
    assert {route for route in served() if not route.startswith("HEAD ")} == named


def test_every_route_is_judged():
    """The page has all routes of llama-swap."""
    known = (ROOT / "tests" / "data" / "llama_swap_routes.txt").read_text().splitlines()[1:]
    assert sorted(names_of(ROUTES)) == known
