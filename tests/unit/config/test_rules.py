"""Rules between keys."""

import pytest

from llama_swap.config.rules import compile_pattern

CMD = "cmd: srv --port ${PORT}"
PEERS = "peers: {far: {proxy: 'http://h', models: [x]}}\nselectors: {sel: {strategy: pin, targets: [x]}}\n"
MODELS = f"models: {{a: {{{CMD}, aliases: [al]}}, b: {{{CMD}}}}}\n"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("apiKeys: ['']", "apiKeys[0]", "empty api key found in apiKeys"),
        ("apiKeys: [ok, 'a b']", "apiKeys[1]", "api key cannot contain spaces"),
        ("upstream: {ignorePaths: ['a', '(']}", "upstream.ignorePaths[1]", "invalid regular expression"),
        ("allowedHosts: ['http://x']", "allowedHosts[0]", "must be a host name"),
        ("allowedHosts: ['x:80']", "allowedHosts[0]", "must be a host name"),
        ("hooks: {on_startup: {preload: [al, bb]}}", "hooks.on_startup.preload[1]", 'unknown model "bb"'),
        ("hooks: {on_startup: {preload: [far/x]}}", "hooks.on_startup.preload[0]", "far/x is served by a peer"),
        ("hooks: {on_startup: {preload: [sel]}}", "hooks.on_startup.preload[0]", "far/x is served by a peer"),
        ("store: {path: ' '}", "store.path", "store.path must not be empty"),
        ("store: {path: ''}", "store.path", "store.path must not be empty"),
        ("store: {path: /nowhere/x.sqlite}", "store.path", "directory /nowhere does not exist"),
        ("performance: {every: 1s}", "performance.every", "performance: every must be at least 5s, got 1s"),
    ],
)
def test_top_level_rules(refused, text, key, words):
    """Each broken rule is one problem at its value."""
    problems = refused(f"{MODELS}{PEERS}{text}\n")
    assert set(problems) == {key}
    assert words in problems[key].rule
    assert problems[key].line > 3


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        ("env: [A]", "env[0]", "must be NAME=value"),
        ("env: ['=x']", "env[0]", "must be NAME=value"),
        ("proxy: 'localhost:8080'", "proxy", "must start with http"),
        ("proxy: 'http://h:99999'", "proxy", "invalid proxy URL"),
        ("proxy: 'http://'", "proxy", "it has no host"),
        ("proxy: 'http://h/?a=1'", "proxy", "query"),
        ('cmdStop: "a\\0b"', "cmdStop", "null bytes"),
    ],
)
def test_rules_of_a_model(refused, keys, key, words):
    """Each broken rule of a model is one problem at its value."""
    problems = refused(f"models: {{m: {{{CMD}, {keys}}}}}")
    assert set(problems) == {f"models.m.{key}"}
    assert words in problems[f"models.m.{key}"].rule


def test_an_id_is_not_empty(refused):
    """A model needs a name to be asked for."""
    assert "not empty" in refused(f"models: {{'': {{{CMD}}}}}")['models.""'].rule


@pytest.mark.parametrize("keys", ["cmd: srv", "cmd: srv, proxy: 'http://h:${PORT}'", "name: x"])
def test_port_needs_a_command_that_uses_it(refused, keys):
    """Without `${PORT}` in cmd there is no port for the proxy."""
    (problem,) = refused(f"models: {{m: {{{keys}}}}}").values()
    assert problem.rule == "model m: proxy uses ${PORT} but cmd does not"


def test_port_elsewhere(refused):
    """Nor for any other key."""
    problems = refused("models: {m: {cmd: srv, proxy: 'http://h', metadata: {a: ['${PORT}']}, env: ['P=${PORT}']}}")
    assert set(problems) == {"models.m.metadata", "models.m.env"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("logRequests: true", "logRequests"),
        ("groups: {g: {members: [a], preload: true}}", "groups.g.preload"),
    ],
)
def test_keys_without_effect(load, text, key):
    """Keys that llama-swap ignores are accepted with a warning."""
    assert [problem.key for problem in load(f"{MODELS}{text}\n").warnings if problem.key == key] == [key]


def test_advice_about_models(load):
    """A model without a command, one that sets `model`, and a copy of another are pointed out."""
    config = load(
        f"""
        models:
          a: {{proxy: "http://h"}}
          b: {{{CMD}, filters: {{setParams: {{model: x}}, setParamsByID: {{c: {{model: y}}}}}}}}
          d: {{{CMD}, ttl: 5}}
        peers: {{p: {{proxy: "http://h", models: [x], filters: {{setParams: {{model: x}}}}}}}}
        """
    )
    assert {problem.key for problem in config.warnings} == {
        *("models.a", "models.b.filters.setParams.model", "models.b.filters.setParamsByID.c.model", "models.d"),
        "peers.p.filters.setParams.model",
    }


def test_copies_that_differ_in_the_environment(load):
    """The same command in another environment is another model."""
    config = load(f"models: {{a: {{{CMD}, env: [A=1]}}, b: {{{CMD}, env: [A=2]}}}}")
    assert config.warnings == ()


def test_preload_names_are_trimmed_and_resolved(load):
    """Preloading takes IDs and aliases, each model once, in order."""
    assert load(f"{MODELS}hooks: {{on_startup: {{preload: [b, ' al ', a]}}}}").preload == ("b", "a")


def test_a_selector_is_preloaded_by_its_first_target(load):
    """That is the target a cold selector would start."""
    selectors = "selectors: {sel: {strategy: warm, targets: [b, a]}}"
    assert load(f"{MODELS}{selectors}\nhooks: {{on_startup: {{preload: [sel]}}}}").preload == ("b",)


def test_the_machine_is_another_one_at_build_time(load):
    """A folder that is not there while the file is checked elsewhere is a warning."""
    config = load("store: {path: /nowhere/x.sqlite}", allow_missing_env=True)
    assert [problem.key for problem in config.warnings] == ["store.path"]


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"\.js$", "a.js", True),
        (r"(?i)\.JS\z", "a.js", True),
        (r"a\\z", "a\\z", True),
        (r"^/api/", "/x/api/", False),
    ],
)
def test_patterns(pattern, text, found):
    r"""Expressions are searched for; `\z` of Go is understood."""
    assert bool(compile_pattern(pattern).search(text)) == found


@pytest.mark.parametrize("pattern", ["(", "[[:alpha:]]", r"\pL", "a(?i)b"])
def test_patterns_that_mean_something_else(pattern):
    """An expression that Python rejects, or reads differently from Go, is an error."""
    with pytest.raises(ValueError, match=r"\w"):
        compile_pattern(pattern)
