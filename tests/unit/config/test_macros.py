"""Macros."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.config.expand import expand_tree
from llama_swap.config.macros import Expander
from llama_swap.config.tree import node_at
from llama_swap.config.yaml12 import parse_yaml

SRV = "cmd: srv --port ${PORT}"


def described(text, macros, env=None):
    """What a description becomes; None if something is wrong."""
    file = f"macros:\n{macros}\nmodels:\n  m:\n    {SRV}\n    description: {text}\n"
    expander = Expander(env or {})
    expanded = expand_tree(parse_yaml(file, Path("f")), expander)
    return None if expander.problems else node_at(expanded.root, ("models", "m", "description")).value


@pytest.mark.parametrize("order", list(itertools.permutations(["a: x", "b: <${a}>", "c: ${b}${a}"])))
def test_any_order(order):
    """A macro may use macros declared before or after it."""
    assert described("${c}", "\n".join(f"  {line}" for line in order)) == "<x>x"


@given(st.data())
def test_expansion_does_not_depend_on_order(data):
    """A random set of macros without cycles gives the same text in every order, namely the one built by hand."""
    count = data.draw(st.integers(1, 6))
    values, texts = [], []
    for number in range(count):
        used = data.draw(st.lists(st.integers(0, number - 1), max_size=3)) if number else []
        values.append("-".join([f"v{number}", *(f"${{m{index}}}" for index in used)]))
        texts.append("-".join([f"v{number}", *(texts[index] for index in used)]))
    order = data.draw(st.permutations(range(count)))
    macros = "\n".join(f"  m{number}: {values[number]}" for number in order)
    assert described(f"${{m{count - 1}}}", macros) == texts[-1]


def test_cycles_are_named(refused):
    """Each cycle is one error that names its macros in order; a macro that uses itself is one too."""
    problems = refused("macros: {a: '${b}', b: '${c}', c: 'x${a}', self: '${self}', ok: '${a}'}\nmodels: {}\n")
    assert set(problems) == {"macros.a", "macros.self"}
    assert "a -> b -> c -> a" in problems["macros.a"].rule
    assert "self-reference" in problems["macros.self"].rule


def test_cycle_through_a_model(refused):
    """A model's macro that closes a cycle with one of the file is an error."""
    problems = refused(
        f"""
        macros: {{full: "v-${{tag}}", tag: x}}
        models:
          m:
            macros: {{tag: "${{full}}"}}
            {SRV} ${{full}}
        """
    )
    assert "full -> tag -> full" in problems["macros.full"].rule


def test_model_macro_wins_inside_global_ones(load):
    """A global macro that uses `${tag}` sees the model's `tag`."""
    config = load(
        f"""
        macros: {{tag: global, full: "v-${{tag}}"}}
        models:
          a: {{{SRV}, name: "${{full}}", macros: {{tag: local}}}}
          b: {{{SRV}, name: "${{full}}"}}
        """
    )
    assert [model.name for model in config.models.values()] == ["v-local", "v-global"]


def test_model_id_in_a_global_macro(load):
    """`${MODEL_ID}` is the ID of the model that uses the macro."""
    config = load(f"macros: {{where: '/m/${{MODEL_ID}}'}}\nmodels: {{a: {{{SRV}, name: '${{where}}'}}}}")
    assert config.models["a"].name == "/m/a"


def test_types(model):
    """A value that is exactly one macro has the macro's type; within a text it is text as it was written."""
    found = model(
        f"""
        {SRV}
        metadata:
          port: ${{PORT}}
          exact: ["${{temp}}", "${{on}}", "${{big}}", "${{again}}"]
          text: t=${{temp}} ${{on}} ${{big}}
          joined: ${{big}}${{big}}
          ${{temp}}: a key is not expanded
        """,
        top="macros: {temp: 0.70, on: TRUE, big: 4096, again: '${big}'}",
    )
    assert found.metadata == {
        "port": 5800,
        "exact": [0.7, True, 4096, 4096],
        "text": "t=0.70 true 4096",
        "joined": "40964096",
        "${temp}": "a key is not expanded",
    }
    assert type(found.metadata["exact"][1]) is bool


def test_numbers_by_macro(load):
    """Numbers at the top level may come from macros and from the environment."""
    config = load(
        'globalTTL: "${T}"\nstartPort: ${env.P}\nmacros: {T: 60}\n' + f"models: {{m: {{{SRV}}}}}", env={"P": "7000"}
    )
    assert (config.models["m"].ttl_seconds, config.models["m"].port) == (60.0, 7000)


def test_keys_of_set_params_by_id(model):
    """The names in `setParamsByID` are expanded, and only those keys."""
    found = model(f"{SRV}\nfilters: {{setParamsByID: {{'${{MODEL_ID}}:fast': {{'${{MODEL_ID}}': 1}}}}}}")
    assert found.filters.set_params_by_id == {"m:fast": {"${MODEL_ID}": 1}}
    assert found.aliases == ("m:fast",)


def test_keys_that_become_the_same(refused):
    """Two such names that expand to one are an error."""
    problems = refused(
        f"models: {{m: {{{SRV}, filters: {{setParamsByID: {{'${{MODEL_ID}}:x': {{}}, 'm:x': {{}}}}}}}}}}"
    )
    assert "resolve to the same value" in problems["models.m.filters.setParamsByID.m:x"].rule


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("PORT", "is reserved"),
        ("PID", "is reserved"),
        ("MODEL_ID", "is reserved"),
        ("a b", "invalid characters"),
        ("a.b", "invalid characters"),
        ("x" * 64, "maximum length of 63"),
    ],
)
@pytest.mark.parametrize("of_model", [False, True])
def test_names_of_macros(refused, name, words, of_model):
    """Reserved, odd and long names are refused, in the file and in a model."""
    own = f", macros: {{'{name}': 1}}" if of_model else ""
    top = "" if of_model else f"macros: {{'{name}': 1}}\n"
    (problem,) = refused(f"{top}models: {{m: {{{SRV}{own}}}}}").values()
    assert words in problem.rule
    assert problem.key.startswith("models.m.macros." if of_model else "macros.")


def test_longest_name(model):
    """63 characters are allowed."""
    name = "x" * 63
    assert model(f"{SRV}\nname: ${{{name}}}", top=f"macros: {{{name}: 1}}").name == "1"


def test_values_of_macros(refused):
    """Lists, mappings and nothing are no values of a macro; and macros are a mapping."""
    problems = refused("macros: {l: [1], m: {a: 1}, n: }\nmodels: {x: {cmd: a, proxy: 'http://h', macros: 5}}")
    assert set(problems) == {"macros.l", "macros.m", "macros.n", "models.x.macros"}
    assert all("scalar type" in problems[key].rule for key in ("macros.l", "macros.m", "macros.n"))


@pytest.mark.parametrize("key", ["cmd", "cmdStop", "proxy", "checkEndpoint", "name", "description", "useModelName"])
def test_unknown_macro(refused, key):
    """An unknown macro is an error at its line that names it, the model and the key, and the nearest macro."""
    value = {"cmd": "srv ${PORT} ${nop}", "proxy": "http://h:${PORT}/${nop}"}.get(key, "${nop}")
    command = "" if key == "cmd" else f"    {SRV}\n"
    (problem,) = refused(f"macros: {{nope: 1}}\nmodels:\n  m:\n{command}    {key}: {value}\n").values()
    assert problem.line == (4 if key == "cmd" else 5)
    assert problem.key == f"models.m.{key}"
    assert "unknown macro '${nop}'" in problem.rule
    assert problem.fix == "did you mean ${nope}?"


def test_unknown_macro_inside_a_macro(refused):
    """It is reported once, where its text stands, however many models use it."""
    text = 'macros:\n  srv: "srv ${nope}"\nmodels:\n' + "".join(
        f"  {name}: {{cmd: '${{srv}} ${{PORT}}'}}\n" for name in "abc"
    )
    (problem,) = refused(text).values()
    assert (problem.line, problem.key) == (2, "macros.srv")


@pytest.mark.parametrize(
    "key", ["apiKeys: ['${nope}']", "logLevel: ${nope}", "globalTTL: '${PORT}'", "allowedHosts: ['${PID}']"]
)
def test_unknown_macro_at_the_top(refused, key):
    """At the top level unknown macros, and those of models, are errors too."""
    problems = refused(f"{key}\nmodels: {{}}")
    assert any("unknown macro" in problem.rule for problem in problems.values())


def test_pid_only_in_cmd_stop(model, refused):
    """`${PID}` is left for later in cmdStop and unknown elsewhere."""
    assert model(f"{SRV}\ncmdStop: stop ${{PID}} ${{PORT}}").stop_argv == ("stop", "${PID}", "5800")
    (problem,) = refused("models: {m: {cmd: 'srv ${PORT} ${PID}'}}").values()
    assert "cmdStop" in problem.fix


def test_other_dollars_stay(model):
    """`$X`, `${X:-y}`, `${a.b}` and `$${` are text."""
    found = model("cmd: sh -c 'echo $X ${X:-y} ${a.b} ${} ${PORT}'")
    assert found.argv[2] == "echo $X ${X:-y} ${a.b} ${} 5800"


def test_comments_in_commands(model):
    """A comment line of a command is dropped before its macros are looked up; YAML's comments never count."""
    found = model("# ${env.NOPE} ${nope}\ncmd: |\n  srv\n  # ${nope} ${env.NOPE}\n  --port ${PORT} # x\n")
    assert found.argv == ("srv", "--port", "5800", "#", "x")


def test_commented_port_is_no_port(refused):
    """`${PORT}` in a comment line of a command does not count as use."""
    assert "cmd does not" in refused("models:\n  m:\n    cmd: |\n      srv\n      # ${PORT}\n")["models.m.proxy"].rule


class TestEnvironment:
    """`${env.X}`."""

    @pytest.mark.parametrize(
        ("text", "value", "expected"),
        [
            ("${env.X}", "12", 12),
            ("${env.X}", "0.5", 0.5),
            ("${env.X}", "true", True),
            ("${env.X}", "yes", "yes"),
            ("${env.X}", "", ""),
            ("${env.X}", "null", "null"),
            ('"${env.X}"', "12", "12"),
            ("1${env.X}", "2", 12),
            ("a ${env.X}", "2", "a 2"),
            ("${env.X}", "a: b # c", "a: b # c"),
            ("'${env.X}'", 'it\'s "q" \\ back', 'it\'s "q" \\ back'),
            ("${by}", "7", 7),
        ],
    )
    def test_values(self, text, value, expected):
        """A value is taken as it is; without quotes it has the type it would have in its place."""
        found = described(text, "  by: ${env.X}", {"X": value})
        assert found == expected
        assert type(found) is type(expected)

    def test_in_a_command(self, model):
        """Quotes and backslashes of a value stay in the arguments; its blanks split them, unless quoted."""
        found = model(
            "cmd: srv ${PORT} ${env.X} \"${env.X}\" '${env.X}' ${via}",
            top="macros: {via: '--k=${env.X}'}",
            env={"X": "a'b c\""},
        )
        assert found.argv == ("srv", "5800", "a'b", 'c"', "a'b c\"", "a'b c\"", "--k=a'b", 'c"')
        assert found.command.count("a'b c\"") == 4

    def test_with_macros_inside(self, model):
        """A value that holds macros is part of the configuration, as for llama-swap."""
        found = model("cmd: ${env.SRV} -c ${env.N}", env={"SRV": "srv --port ${PORT} '${env.N}'", "N": "5"})
        assert found.argv == ("srv", "--port", "5800", "5", "-c", "5")

    def test_that_holds_itself(self, model):
        """A value that names its own variable does not loop."""
        assert model(f"{SRV}\nname: ${{env.X}}", env={"X": "x${env.X}"}).name == "xx${env.X}"

    def test_unset(self, refused):
        """An unset variable is an error that names it, once per place."""
        problems = refused(f"apiKeys: [${{env.NOPE}}]\nmodels: {{m: {{{SRV} ${{env.NOPE}}, name: '${{env.NOPE}}'}}}}")
        assert set(problems) == {"apiKeys[0]", "models.m.cmd", "models.m.name"}
        assert all("'NOPE' is not set" in problem.rule for problem in problems.values())

    @pytest.mark.parametrize("value", ["a\nb", "a\r", "a\0"])
    def test_line_ends(self, refused, value):
        """A value with a line end or a null byte is refused, and not shown."""
        (problem,) = refused("apiKeys: ['${env.K}']\nmodels: {}", env={"K": value}).values()
        assert "'K' contains newlines or null bytes" in problem.rule
        assert value not in str(problem)

    def test_bad_name(self, refused):
        """A name that no variable has is an error."""
        (problem,) = refused("allowedHosts: ['${env.1-x}']\nmodels: {}", env={"1-x": "h"}).values()
        assert "no name of an environment variable" in problem.rule

    def test_only_what_is_used(self, load):
        """A macro that nobody uses needs no variable; used names are known."""
        config = load("macros: {a: '${env.A}', b: '${env.B}'}\nallowedHosts: ['${b}']\nmodels: {}", env={"B": "h"})
        assert config.env_names == {"B"}


class TestMissingEnvironment:
    """With `allow_missing_env`, for a check where the service's environment is not there."""

    def test_placeholders(self, load):
        """Text keeps a visible placeholder, numbers their default, and each variable gives a warning."""
        config = load(
            """
            apiKeys: ["${env.K}"]
            globalTTL: ${env.T}
            logLevel: ${env.L}
            macros: {host: "${env.H}"}
            hooks: {on_startup: {preload: ["${env.P}"]}}
            groups: {g: {members: ["${env.G}"]}}
            models:
              m:
                cmd: srv --port ${PORT} --key ${env.K}
                proxy: ${host}
                name: n ${env.N}
                concurrencyLimit: ${env.C}
                env: ["${env.E}"]
            """,
            allow_missing_env=True,
        )
        model = config.models["m"]
        assert model.argv[-1] == "${env.K}"
        assert model.name == "n <unset:N>"
        assert (model.ttl_seconds, model.concurrency_limit, config.log_level) == (0, 0, "info")
        assert config.preload == ()
        names = {problem.rule.split("'")[1] for problem in config.warnings}
        assert names == {"K", "T", "L", "H", "P", "G", "N", "C", "E"}

    def test_whole_command(self, load):
        """A command that is all unknown may use the port, so nothing is said about that."""
        config = load("models: {m: {cmd: '${env.SRV}'}, n: {cmd: [x, '${env.P}']}}", allow_missing_env=True)
        assert [model.argv for model in config.models.values()] == [("${env.SRV}",), ("x", "${env.P}")]
        assert len(config.warnings) == 2

    def test_other_problems_stay(self, refused):
        """What is wrong for another reason is an error still."""
        problems = refused("globalTTL: -1\nlogLevel: ${env.L}\nmodels: {}", allow_missing_env=True)
        assert set(problems) == {"globalTTL"}


def test_place_of_expanded_values():
    """A value keeps its own line and spelling after expansion, whatever line the macro stands on."""
    root = parse_yaml("macros:\n  a: 5\nname: ${a}\n", Path("f"))
    before, after = root.entries["name"], expand_tree(root, Expander({})).root.entries["name"]
    assert after == replace(before, value=5, text="5")
