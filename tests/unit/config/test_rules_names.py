"""Rules about profiles, selectors and peers."""

import pytest

CMD = "cmd: srv --port ${PORT}"
BASE = f"""
models:
  a: {{{CMD}, aliases: [al], filters: {{setParamsByID: {{'a:x': {{}}}}}}}}
  b: {{{CMD}}}
groups: {{g: {{swap: false, members: [a, b]}}}}
"""
TWO_PEERS = "peers: {q: {proxy: 'http://q', models: [x]}, p: {proxy: 'http://p', models: [x, y]}}\n"
TOP = {"selectors": "sel: {strategy: pin, targets: [b]}", "profiles": "prof: {pins: {x: a}}"}


def problems_of(refused, section, text):
    """The problems of one more entry in a section of an otherwise right file."""
    lines = "".join(f"  {line}\n" for line in (TOP.get(section, ""), text) if line)
    others = "".join(f"{name}:\n  {entry}\n" for name, entry in TOP.items() if name != section)
    peers = "" if section == "peers" else TWO_PEERS
    return refused(f"{BASE}{others}{peers}{section}:\n{lines}")


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("s: {targets: [a]}", "selectors.s", "strategy is required"),
        ("s: ", "selectors.s", "targets must contain at least one entry"),
        ("s: {strategy: warn, targets: [a]}", "selectors.s.strategy", 'unknown strategy "warn" (valid: warm, pin, sp'),
        ("s: {strategy: pin}", "selectors.s", "targets must contain at least one entry"),
        ("s: {strategy: pin, targets: []}", "selectors.s", "targets must contain at least one entry"),
        ("s: {strategy: pin, targets: [a, zz]}", "selectors.s.targets[1]", 'references unknown model "zz"'),
        ("s: {strategy: pin, targets: [x]}", "selectors.s.targets[0]", 'references unknown model "x"'),
        ("s: {strategy: pin, targets: [sel]}", "selectors.s.targets[0]", "selector chaining is not supported"),
        ("a: {strategy: pin, targets: [b]}", "selectors.a", 'name conflicts with model ID "a"'),
        ("al: {strategy: pin, targets: [b]}", "selectors.al", 'name conflicts with model alias "al"'),
        ("'a:x': {strategy: pin, targets: [b]}", "selectors.a:x", 'name conflicts with model alias "a:x"'),
        ("' ': {strategy: pin, targets: [b]}", 'selectors." "', "not empty"),
        ("p/x: {strategy: pin, targets: [b]}", "selectors.p/x", "conflicts with fully qualified peer model name"),
        ("s: {strategy: warm, targets: [a, y]}", "selectors.s.targets[1]", 'a local model for strategy "warm"'),
        ("s: {strategy: warm, targets: [p/x]}", "selectors.s.targets[0]", 'a local model for strategy "warm"'),
        (
            "s: {strategy: spillover, targets: [a, b], settings: {spillover: 0}}",
            "selectors.s.settings.spillover",
            "must be >= 1",
        ),
        (
            "s: {strategy: spillover, targets: [a, b, al]}",
            "selectors.s.targets[2]",
            'duplicate resolved model "a"',
        ),
        (
            "s: {strategy: spillover, targets: [y, p/y]}",
            "selectors.s.targets[1]",
            'duplicate resolved model "p/y"',
        ),
    ],
)
def test_selectors(refused, text, key, words):
    """Each broken rule is one problem at its value (or two at one, for a selector without anything)."""
    problems = problems_of(refused, "selectors", text)
    assert set(problems) == {key}
    assert words in problems[key].rule


def test_what_was_meant(refused):
    """A target that two peers have, and one that is misspelt, get the name to write."""
    problems = problems_of(refused, "selectors", "s: {strategy: pin, targets: [x, p/z]}")
    assert problems["selectors.s.targets[0]"].fix == "several peers have it: write p/x"
    assert problems["selectors.s.targets[1]"].fix == 'did you mean "p/y"?'


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("w: {pins: {}}", "profiles.w.pins", "must contain at least one entry"),
        ("w: {description: x}", "profiles.w.pins", "must contain at least one entry"),
        ("w: ", "profiles.w.pins", "must contain at least one entry"),
        ("w: [a, b]", "profiles.w", "the legacy list syntax is no longer supported"),
        ("w: {pins: {n: zz}}", "profiles.w.pins.n", 'references unknown model "zz"'),
        ("w: {pins: {n: x}}", "profiles.w.pins.n", 'references unknown model "x"'),
        ("w: {pins: {' ': a}}", 'profiles.w.pins." "', "must not be empty"),
        ("' ': {pins: {n: a}}", 'profiles." "', "not empty"),
        ("w: {pins: {p/x: a}}", "profiles.w.pins.p/x", "conflicts with fully qualified peer model name"),
        ("w: {pin: {n: a}}", "profiles.w.pin", "unknown key `pin`"),
    ],
)
def test_profiles(refused, text, key, words):
    """Each broken rule is one problem at its value."""
    problems = problems_of(refused, "profiles", text)
    assert key in problems
    assert words in problems[key].rule


@pytest.mark.parametrize("target", ["a", "al", "'a:x'", "sel", "y", "p/x", "~", "''"])
def test_targets_of_pins(load, target):
    """A pin takes models, aliases, selectors, models of peers, and nothing at all."""
    load(f"{BASE}{TWO_PEERS}selectors: {{{TOP['selectors']}}}\nprofiles: {{w: {{pins: {{n: {target}}}}}}}\n")


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("r: {models: [x]}", "peers.r", "proxy is required"),
        ("r: {proxy: '', models: [x]}", "peers.r", "proxy is required"),
        ("r: {proxy: 'http://h', models: []}", "peers.r", "peer models can not be empty"),
        ("r: {proxy: 'http://h'}", "peers.r", "peer models can not be empty"),
        ("r: {proxy: 'http://h', models: ['']}", "peers.r.models[0]", "not empty"),
        ("r: {proxy: 'h:80', models: [x]}", "peers.r.proxy", "invalid peer proxy URL: it must start with http"),
        ("r: {proxy: 'http://h', models: [x], apiKey: 'a b'}", "peers.r.apiKey", "api key cannot contain spaces"),
        ("' ': {proxy: 'http://h', models: [x]}", 'peers." "', "not empty"),
        ("r: {proxy: 'http://h', models: [x], timeouts: {connect: -1}}", "peers.r.timeouts.connect", "at least 0"),
    ],
)
def test_peers(refused, text, key, words):
    """Each broken rule is one problem at its value."""
    problems = problems_of(refused, "peers", text)
    assert set(problems) == {key}
    assert words in problems[key].rule


@pytest.mark.parametrize(
    ("model", "key", "words"),
    [
        (f"p/x: {{{CMD}}}", "models.p/x", 'model ID "p/x" conflicts'),
        (f"m: {{{CMD}, aliases: [z, p/x]}}", "models.m.aliases[1]", 'alias "p/x" conflicts'),
        (
            f"m: {{{CMD}, filters: {{setParamsByID: {{p/x: {{}}}}}}}}",
            "models.m.filters.setParamsByID.p/x",
            'alias "p/x" conflicts',
        ),
    ],
)
def test_qualified_names_belong_to_peers(refused, model, key, words):
    """No model of this machine may have one."""
    problems = refused(f"models: {{{model}}}\n{TWO_PEERS}")
    assert set(problems) == {key}
    assert words in problems[key].rule


def test_one_qualified_name_for_two(refused):
    """`a/b` with model `c` and `a` with model `b/c` cannot be told apart."""
    peers = "peers: {a: {proxy: 'http://h', models: [b/c]}, a/b: {proxy: 'http://h', models: [d, c]}}"
    problems = refused(peers)
    assert set(problems) == {"peers.a/b.models[1]"}
    assert 'peer model name "a/b/c" is ambiguous' in problems["peers.a/b.models[1]"].rule


def test_a_wrong_entry_is_reported_once(refused):
    """What only follows from another problem is not reported."""
    problems = refused("peers: {p: {proxy: [x], models: [{}]}}\nselectors: {s: {strategy: {}, targets: [[]]}}")
    assert set(problems) == {"peers.p.proxy", "peers.p.models[0]", "selectors.s.strategy", "selectors.s.targets[0]"}


def test_names_from_the_environment(load):
    """At build time a name that comes from a variable is not known, and nothing is said about it."""
    text = "selectors: {s: {strategy: '${env.S}', targets: ['${env.T}']}}\nprofiles: {w: {pins: {n: '${env.T}'}}}\n"
    config = load(BASE + text, allow_missing_env=True)
    assert {"selectors.s.strategy", "selectors.s.targets[0]"} <= {problem.key for problem in config.warnings}
