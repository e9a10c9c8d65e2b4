"""Which part of a file is expanded how."""

import pytest

CMD = "cmd: srv --port ${PORT}"


def test_anchor_holders_are_ignored(load):
    """Keys at the top that only hold anchors need no names we know, and their macros are not looked up."""
    config = load(
        """
        common: &common
          cmd: srv --port ${PORT} ${own}
          ttl: 5
        parts:
          - &env [A=1]
        x-anything: {zz: "${nope}"}
        models:
          a: {<<: *common, macros: {own: x}, env: *env}
          b: {<<: *common, macros: {own: y}, ttl: 6}
        """
    )
    assert [(model.argv[-1], model.ttl_seconds) for model in config.models.values()] == [("x", 5), ("y", 6)]
    assert config.models["a"].env == (("A", "1"),)


def test_misspelt_key_with_an_anchor(refused):
    """A key that looks like one we know is an error, anchor or not."""
    assert set(refused("model: &a {x: 1}\nmodels: {}")) == {"model"}


def test_error_in_an_anchor_is_placed_there(refused):
    """A value that comes from an anchor has the line of the anchor, and the key of its user."""
    (problem,) = refused(f"x-all: &all\n  ttl: x\nmodels:\n  m:\n    <<: *all\n    {CMD}\n").values()
    assert (problem.line, problem.key) == (2, "models.m.ttl")


@pytest.mark.parametrize("command", ["[srv, --port, '${PORT}', 'a b', \"it's\", 5, '# x', '${two}', '${env.E}']"])
def test_command_as_a_list(model, command):
    """A list is the arguments: macros and variables are filled in, nothing is split or dropped."""
    found = model(f"cmd: {command}", top="macros: {two: 'b c'}", env={"E": "d 'e"})
    assert found.argv == ("srv", "--port", "5800", "a b", "it's", "5", "# x", "b c", "d 'e")


def test_port_as_a_number(model):
    """`${PORT}` alone is a number in metadata, and text within text."""
    found = model(
        f"{CMD}\nmetadata: {{a: '${{PORT}}', b: ['p${{PORT}}', {{c: '${{PORT}}'}}]}}\ncheckEndpoint: /h${{PORT}}"
    )
    assert found.metadata == {"a": 5800, "b": ["p5800", {"c": 5800}]}
    assert found.check_endpoint == "/h5800"


def test_port_by_macro(model):
    """A command that gets `${PORT}` from a macro uses it."""
    assert model("cmd: ${srv}", top="macros: {srv: 'srv --port ${PORT}'}").port == 5800
