"""Rules between keys."""

import pytest

from llama_swap.config.rules import compile_pattern

CMD = "cmd: srv --port ${PORT}"
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
        ("groups: {g: {members: [a, a]}}", "groups.g.members[1]", "duplicate model member a found in group: g"),
        ("groups: {g: {members: [a]}, h: {members: [a]}}", "groups.h.members[0]", "used in multiple groups: g and h"),
        ("groups: {g: {members: [zz]}}", "groups.g.members[0]", 'unknown model "zz"'),
        ("groups: {g: {members: [al]}}", "groups.g.members[0]", "al is an alias"),
        (
            "routing: {router: {settings: {groups: {g: {members: [zz]}}}}}",
            "routing.router.settings.groups.g.members[0]",
            'unknown model "zz"',
        ),
        (
            "groups: {g: {members: [a]}}\nrouting: {router: {use: group}}",
            "groups",
            "legacy top-level `groups` key and the",
        ),
        ("routing: {router: {use: zz}}", "routing.router.use", 'unknown router "zz"'),
        ("routing: {router: {use: matrix}}", "routing.router.use", "routing.router.use is 'matrix'"),
        ("routing: {scheduler: {use: zz}}", "routing.scheduler.use", 'unknown scheduler "zz"'),
        (
            "routing: {scheduler: {settings: {fifo: {priority: {zz: 1}}}}}",
            "routing.scheduler.settings.fifo.priority.zz",
            'unknown model "zz"',
        ),
        (
            "routing: {scheduler: {settings: {fifo: {priority: {a: 1, al: 2}}}}}",
            "routing.scheduler.settings.fifo.priority.al",
            "model a has a priority already",
        ),
    ],
)
def test_top_level_rules(refused, text, key, words):
    """Each broken rule is one problem at its value."""
    problems = refused(f"{MODELS}{text}\n")
    assert set(problems) == {key}
    assert words in problems[key].rule
    assert problems[key].line > 1


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
        """
    )
    assert {problem.key for problem in config.warnings} == {
        *("models.a", "models.b.filters.setParams.model", "models.b.filters.setParamsByID.c.model", "models.d"),
    }


def test_copies_that_differ_in_the_environment(load):
    """The same command in another environment is another model."""
    config = load(f"models: {{a: {{{CMD}, env: [A=1]}}, b: {{{CMD}, env: [A=2]}}}}")
    assert config.warnings == ()


def test_preload_names_are_trimmed_and_resolved(load):
    """Preloading takes IDs and aliases, each model once, in order."""
    assert load(f"{MODELS}hooks: {{on_startup: {{preload: [b, ' al ', a]}}}}").preload == ("b", "a")


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
