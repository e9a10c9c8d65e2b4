"""The whole way, and several sources."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_swap.config import ConfigError, PortBook, load_config

KEYS = [
    *("models", "m", "cmd", "proxy", "env", "ttl", "aliases", "filters", "setParams", "setParamsByID", "stripParams"),
    *(
        "macros",
        "a",
        "PORT",
        "groups",
        "members",
        "routing",
        "router",
        "settings",
        "use",
        "scheduler",
        "fifo",
        "priority",
    ),
    *(
        "hooks",
        "on_startup",
        "preload",
        "apiKeys",
        "startPort",
        "globalTTL",
        "upstream",
        "ignorePaths",
        "metadata",
        "x",
    ),
    *("capabilities", "in", "timeouts", "connect", "logLevel", "maxBodySize", "checkEndpoint", "cmdStop", "<<"),
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(
        ["m", "a", "${a}", "${PORT}", "${env.X}", "x ${PORT}", "http://h:${PORT}", "1h", "1GB", "(", "none"]
    ),
    st.text("ab:/${}.'\\ \0\n1", max_size=8),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
)
FILES = st.fixed_dictionaries(
    {
        "models": st.dictionaries(
            st.sampled_from(KEYS), st.dictionaries(st.sampled_from(KEYS), TREES, max_size=4) | TREES
        )
    },
    optional={key: TREES for key in KEYS if key != "models"},
)

CMD = "cmd: srv --port ${PORT}"


def test_several_sources(load):
    """Models, macros, keys and groups may be spread over files."""
    config = load(
        f"apiKeys: [one]\nmacros: {{a: '${{b}}'}}\nmodels: {{x: {{{CMD}, name: '${{a}}'}}}}",
        f"apiKeys: [two]\nmacros: {{b: B}}\nmodels: {{w: {{{CMD}}}}}",
    )
    assert config.api_keys == ("one", "two")
    assert [(model.id, model.port, model.name) for model in config.models.values()] == [
        ("w", 5800, ""),
        ("x", 5801, "B"),
    ]
    assert [source.name for source in config.sources] == ["config.yaml", "more1.yaml"]


def test_problems_are_ordered(load):
    """Problems come by source, and by line within one."""
    with pytest.raises(ConfigError) as caught:
        load("b: 1\nmodels:\n  m: {ttl: x}\na: 1\n", "zz: 1\n")
    places = [(problem.file.name, problem.line) for problem in caught.value.problems]
    assert places == [("config.yaml", 1), ("config.yaml", 3), ("config.yaml", 3), ("config.yaml", 4), ("more1.yaml", 1)]
    assert str(caught.value).count("\n") == 4


def test_ports_follow_the_sorted_ids(load):
    """Models that use a port get consecutive ones in the order of their IDs; others use up none."""
    config = load(f"models: {{c2: {{{CMD}}}, b1: {{{CMD}}}, a0: {{cmd: x, proxy: 'http://h'}}}}")
    assert {model.id: model.port for model in config.models.values()} == {"a0": None, "b1": 5800, "c2": 5801}


def test_ports_in_the_file_are_not_given_away(load):
    """The port of a model that has one of its own, started or not, goes to no other model."""
    config = load(f"models: {{a: {{{CMD}}}, b: {{cmd: x, proxy: 'http://127.0.0.1:5800'}}, c: {{{CMD}}}}}")
    assert [model.port for model in config.models.values()] == [5801, None, 5802]


def test_a_wrong_file_leaves_ports_alone(load):
    """A reload that fails assigns nothing."""
    ports = PortBook(lambda _port: True)
    with pytest.raises(ConfigError):
        load(f"models: {{a: {{{CMD}}}, z: {{ttl: x}}}}", ports=ports)
    assert load(f"models: {{b: {{{CMD}}}}}", ports=ports).models["b"].port == 5800


def test_no_port_left(refused):
    """No free port is a problem with `startPort`."""
    (problem,) = refused(f"startPort: 65000\nmodels: {{m: {{{CMD}}}}}", ports=PortBook(lambda _port: False)).values()
    assert (problem.key, problem.line) == ("startPort", 1)
    assert "no free port from 65000" in problem.rule


def test_missing_file(tmp_path):
    """A file that is not there is a problem like any other."""
    with pytest.raises(ConfigError, match=r"config\.yaml: cannot be read: No such file"):
        load_config([tmp_path / "config.yaml"], env={}, ports=PortBook())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(FILES)
def test_any_file_is_a_configuration_or_an_error(tmp_path, content):
    """Whatever a file holds, loading it ends in a configuration or in problems, each with a rule and a line."""
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(content, indent=1).replace("NaN", ".nan").replace("Infinity", ".inf"))
    problems, config = (), None
    try:
        config = load_config([file], env={"X": "1"}, ports=PortBook(lambda _port: True))
    except ConfigError as error:
        problems = error.problems
    if config is None:
        assert problems
        assert all(problem.rule and problem.line and str(problem) for problem in problems)
    else:
        assert set(config.names.values()) == set(config.models) == set(config.scheduler.models)
