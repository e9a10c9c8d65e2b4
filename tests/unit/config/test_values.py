"""Questions that a configuration answers."""

import pytest

CMD = "cmd: srv --port ${PORT}"


def test_rebind(load):
    """Another port changes everything that shows it; a model without a port stays as it is."""
    config = load(f"models: {{a: {{{CMD}, metadata: {{p: '${{PORT}}'}}}}, b: {{cmd: x, proxy: 'http://h'}}}}")
    moved = config.rebind("a", 7001)
    assert (moved.port, moved.argv[-1], moved.proxy, moved.metadata) == (
        7001,
        "7001",
        "http://localhost:7001",
        {"p": 7001},
    )
    assert config.rebind("b", 7001) == config.models["b"]
    with pytest.raises(KeyError):
        config.rebind("nobody", 7001)


def test_names(load):
    """Models are found by every name; an unknown name has a nearest one."""
    config = load(f"models: {{alpha: {{{CMD}, aliases: [beta], filters: {{setParamsByID: {{'alpha:x': {{}}}}}}}}}}")
    assert {config.find(name).id for name in ("alpha", "beta", "alpha:x")} == {"alpha"}
    assert config.find("gamma") is None
    assert (config.nearest("Alpah"), config.nearest("zzz")) == ("alpha", None)
