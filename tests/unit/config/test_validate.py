"""Unknown keys, and going on after a problem."""

from pathlib import Path

import pytest

from llama_swap.config import ConfigError
from llama_swap.config.validate import validate
from llama_swap.config.yaml12 import parse_yaml

CMD = "cmd: srv --port ${PORT}"


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("ttl: 3600", "did you mean `globalTTL`?"),
        ("globalTtl: 5", 'did you mean "globalTTL"?'),
        ("apikeys: [x]", 'did you mean "apiKeys"?'),
        ("preload: [x]", "did you mean `hooks.on_startup.preload`?"),
        ("aliases: [x]", "`aliases` belongs to a model: models.ID.aliases"),
        ("routing: {router: {sets: {}}}", 'did you mean "settings"?'),
        ("routing: {scheduler: {settings: {fifo: {maxwait: 5}}}}", 'did you mean "maxWait"?'),
        ("hooks: {onStartup: {}}", 'did you mean "on_startup"?'),
        ("zzzzzz: 1", "known here: allowedHosts, apiKeys, "),
    ],
)
def test_unknown_key_at_the_top(refused, key, fix):
    """An unknown key is an error with the nearest key, or where it belongs, or what there is."""
    (problem,) = refused(f"models: {{}}\n{key}\n").values()
    assert problem.line == 2
    assert "unknown key" in problem.rule
    assert problem.fix.startswith(fix)


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("alias: [x]", 'did you mean "aliases"?'),
        ("setParams: {}", "did you mean `filters.setParams`?"),
        ("logLevel: info", "`logLevel` belongs to the top level"),
        ("filters: {useModelName: x}", "did you mean `useModelName of the model`?"),
        ("filters: {set_params: {}}", 'did you mean "setParams"?'),
    ],
)
def test_unknown_key_of_a_model(refused, key, fix):
    """The same in a model and below."""
    (problem,) = refused(f"models: {{m: {{{CMD}, {key}}}}}").values()
    assert problem.fix == fix


def test_unknown_values_are_not_shown(refused):
    """The value of an unknown key may be a misplaced secret."""
    assert "sesame" not in str(refused("apiKey: sesame\nmodels: {}")["apiKey"])


def test_everything_at_once(refused):
    """One run finds what is wrong with types, keys, macros, names and rules, and nothing twice."""
    problems = refused(
        f"""
        globalTTL: -1
        lgLevel: info
        apiKeys: ["a b", [x]]
        groups: {{g: {{members: [nobody], swap: maybe}}}}
        models:
          a: {{{CMD}, ttl: x, aliases: [z], env: [A=1, broken], name: "${{nope}}"}}
          b: {{{CMD}, aliases: [z]}}
          c: 5
        """
    )
    assert set(problems) == {
        *("globalTTL", "lgLevel", "apiKeys[0]", "apiKeys[1]", "groups.g.members[0]", "groups.g.swap"),
        *("models.a.ttl", "models.a.env[1]", "models.a.name", "models.b.aliases[0]", "models.c"),
    }


def test_no_consequences(refused):
    """A command with an error does not also get the error that it does not use the port."""
    assert set(refused("models: {m: {cmd: {a: 1}}}")) == {"models.m.cmd"}
    assert set(refused("macros: {srv: '${nope}'}\nmodels: {m: {cmd: '${srv}'}}")) == {"macros.srv"}


def test_nulls_are_defaults(load):
    """A key without a value has its default, on every level; so have a model, a group and a section."""
    config = load(
        f"""
        globalTTL:
        apiKeys: ~
        hooks: {{on_startup: }}
        groups: {{g: }}
        routing:
        models:
          m:
            {CMD}
            proxy:
            ttl: null
            filters: {{setParams: , setParamsByID: {{m: }}}}
        """
    )
    assert config.models["m"].proxy == "http://localhost:5800"
    assert config.scheduler.groups[0].swap


def test_null_model(refused):
    """A model without any key has only defaults, so its proxy lacks a port."""
    assert "cmd does not" in refused("models: {m: }")["models.m.proxy"].rule


def test_unknown_null_key(refused):
    """An unknown key is unknown without a value too."""
    assert set(refused("modles:\nmodels: {}")) == {"modles"}


def test_models_must_be_a_mapping(refused):
    """A list of models is one error."""
    assert refused("models: [a, b]\ngroups: 5")["models"].rule == "must be a mapping"


def test_several_items_of_a_list(load):
    """Each wrong item is one problem with its own place in the list."""
    with pytest.raises(ConfigError) as caught:
        load("apiKeys:\n  - [x]\n  - ok\n  - {y: 1}\n  - [z]\nmodels: {}")
    assert [(problem.line, problem.key) for problem in caught.value.problems] == [
        (2, "apiKeys[0]"),
        (4, "apiKeys[2]"),
        (5, "apiKeys[3]"),
    ]


def test_nothing_to_go_on_with():
    """A tree that is no mapping at all ends in its problem."""
    with pytest.raises(ConfigError, match="must be a mapping"):
        validate(parse_yaml("- x", Path("f")))
