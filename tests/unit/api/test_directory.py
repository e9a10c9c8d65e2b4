"""What a configuration says to requests is the same whether it was looked up or worked out."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from llama_swap.api.directory import Desk, Directory, local_destination, row_metadata
from llama_swap.api.names import find_destination, locate
from llama_swap.api.site import ProfileSwitch, Site
from llama_swap.api.visit import Visit
from llama_swap.config import PortBook, load_config
from llama_swap.scheduler.events import NO_TERMS, Terms

CONFIG = """
apiKeys: [sk-plain, {key: sk-agents, name: agents, priority: -1}]
allowedHosts: [Chat.Example]
models:
  plain: {cmd: "x --port ${PORT}", aliases: [alias, both]}
  named: {cmd: "x --port ${PORT}", useModelName: upstream, filters: {stripParams: "a, b", setParams: {c: 1}}}
  byid:
    cmd: "x --port ${PORT}"
    filters: {setParamsByID: {fast: {effort: low}}}
selectors: {chosen: {strategy: spillover, targets: [plain, p/far]}}
profiles: {work: {pins: {alias: named}}}
peers: {p: {proxy: "http://127.0.0.1:9", models: [far, other/far], filters: {stripParams: d}}}
"""
URGENT = """
models: {plain: {cmd: "x --port ${PORT}"}, urgent: {cmd: "x --port ${PORT}"}}
routing: {scheduler: {use: fifo, settings: {fifo: {priority: {urgent: 7}}}}}
selectors: {s: {strategy: pin, targets: [urgent]}}
peers: {p: {proxy: "http://127.0.0.1:9", models: [far]}}
"""
NAMES = ["plain", "alias", "both", "named", "byid", "fast", "p/far", "far", "p/other/far", "other/far"]


@pytest.fixture
def config(tmp_path):
    """With aliases, renamed models, a selector, a profile and peers."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return load_config([path], env={}, ports=PortBook(lambda _port: True))


@pytest.fixture
def site(config):
    """The part that is asked for names."""
    return SimpleNamespace(
        config=config, directory=Directory(config), profile_switch=ProfileSwitch(), active_profile=None
    )


@pytest.fixture
def urgent(tmp_path):
    """The same with a model that goes before others, and a selector of it."""
    path = tmp_path / "config.yaml"
    path.write_text(URGENT)
    config = load_config([path], env={}, ports=PortBook(lambda _port: True))
    return SimpleNamespace(
        config=config, directory=Directory(config), profile_switch=ProfileSwitch(), active_profile=None
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_in_it(site, name):
    """The table holds what is found without it."""
    looked_up, worked_out = Visit(site), Visit(site)
    assert find_destination(site, name, looked_up) == locate(site, name, name, worked_out)
    assert looked_up.model == worked_out.model
    assert set(site.directory.destinations) == set(NAMES)


def test_names_that_stand_for_several_are_not(site):
    """A selector decides anew for each request."""
    assert "chosen" not in site.directory.destinations


def test_a_profile_pins_what_the_table_knows(site, config):
    """While one is active, a name is not what it is in the table."""
    site.profile_switch.active, site.active_profile = "work", config.profiles["work"]
    visit = Visit(site)
    found = find_destination(site, "alias", visit)
    assert (found.name, found.renamed, visit.model, visit.requested) == ("named", True, "named", "alias")


@pytest.mark.parametrize(
    ("name", "requested", "model_name"),
    [
        ("plain", "plain", None),
        ("plain", "chosen", "plain"),
        ("named", "named", "upstream"),
        ("named", "x", "upstream"),
    ],
)
def test_what_the_upstream_calls_it(config, name, requested, model_name):
    """The model's own word, else the name that replaces the client's; nothing where that stays."""
    found = local_destination(config, config.models[name], name, requested)
    assert (found.model_name, found.rules.use_model_name) == (model_name, model_name)


def test_parameters_by_name(site):
    """They go by the name that the client used."""
    found = site.directory.destinations
    assert found["fast"].rules.requested_params == {"effort": "low"}
    assert found["byid"].rules.requested_params == {}
    assert found["named"].rules.strip_params == ("a", "b")
    assert found["far"].rules.strip_params == ("d",)


def test_keys_and_hosts(config):
    """Keys are compared in bytes; one may have a name and a priority; hosts are lower case."""
    directory = Directory(config)
    assert directory.keys == (b"sk-plain", b"sk-agents")
    assert directory.terms_of("sk-agents") == Terms(caller="agents", priority=-1)
    assert directory.terms_of("sk-none") is NO_TERMS
    assert directory.allowed_hosts == {"chat.example"}


def test_a_reload_makes_another(config):
    """And nothing else does."""
    site = SimpleNamespace(desk=Desk(), supervisor=SimpleNamespace(config=config))
    directory_of = Site.directory.fget
    first = directory_of(site)
    assert directory_of(site) is first
    site.supervisor.config = replace(config, api_keys=("new",))
    assert directory_of(site).keys == (b"new",)
    assert directory_of(site) is directory_of(site)


@pytest.mark.parametrize(
    ("selector", "name", "metadata"),
    [
        ("", "plain", {}),
        ("s", "plain", {"selector": "s"}),
        ("", "urgent", {"fifo_priority": "7"}),
        ("s", "urgent", {"selector": "s", "fifo_priority": "7"}),
        ("s", "p/far", {"selector": "s"}),
    ],
)
def test_row_metadata(urgent, selector, name, metadata):
    """The selector and the priority, where there is one; peers decide about their own."""
    assert row_metadata(selector, urgent.directory.destinations[name]) == metadata


@pytest.mark.parametrize(
    ("name", "metadata"),
    [("plain", {}), ("urgent", {"fifo_priority": "7"}), ("s", {"selector": "s", "fifo_priority": "7"}), ("p/far", {})],
)
def test_metadata_of_what_was_found(urgent, name, metadata):
    """It comes with what serves, however that was found."""
    assert find_destination(urgent, name, Visit(urgent)).metadata == metadata
