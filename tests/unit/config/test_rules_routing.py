"""Rules about groups, the matrix and priorities."""

import pytest

CMD = "cmd: srv --port ${PORT}"
MODELS = f"models: {{a: {{{CMD}, aliases: [al]}}, b: {{{CMD}}}}}\n"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
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
            "legacy top-level `groups` and the",
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
        ("matrix: {sets: {s: a}}\nrouting: {router: {use: matrix}}", "matrix", "legacy top-level `matrix` and the"),
        (
            "matrix: {sets: {s: a}}\nrouting: {router: {settings: {groups: {g: {members: [b]}}}}}",
            "matrix",
            "`routing.router` block",
        ),
        ("groups: {g: {members: [a]}}\nmatrix: {sets: {s: a}}", "matrix", "cannot use both 'groups' and 'matrix'"),
        ("matrix: {sets: {}}", "matrix", "matrix must define at least one set"),
        ("matrix: {}", "matrix", "matrix must define at least one set"),
        ("matrix: {vars: {x_y: a}, sets: {s: a}}", "matrix.vars.x_y", 'var key "x_y" must contain only'),
        ("matrix: {vars: {x: zz}, sets: {s: a}}", "matrix.vars.x", 'var key "x" references unknown model "zz"'),
        ("matrix: {sets: {s: a}, evict_costs: {a: 0}}", "matrix.evict_costs.a", "must be a positive integer, got 0"),
        ("matrix: {sets: {s: a}, evict_costs: {zz: 2}}", "matrix.evict_costs.zz", 'unknown var or model "zz"'),
        ("matrix: {sets: {s: zz}}", "matrix.sets.s", 'set "s": unknown var or model "zz"'),
        ("matrix: {sets: {s: ''}}", "matrix.sets.s", 'set "s": empty DSL expression'),
        ("matrix: {sets: {s: '(a & b'}}", "matrix.sets.s", 'set "s": parse: missing closing parenthesis'),
        ("matrix: {sets: {s: 'b a'}}", "matrix.sets.s", 'parse: unexpected token "a" after expression'),
        ("matrix: {sets: {s: 'a !'}}", "matrix.sets.s", "tokenize: unexpected character '!' at position 2"),
        ("matrix: {sets: {s: +zz}}", "matrix.sets.s", 'set "s" references undefined set "zz"'),
        ("matrix: {sets: {s: +s}}", "matrix.sets.s", 'circular reference detected involving set "s"'),
        (
            "routing: {router: {use: matrix, settings: {matrix: {sets: {s: zz}}}}}",
            "routing.router.settings.matrix.sets.s",
            'matrix: set "s": unknown var or model "zz"',
        ),
    ],
)
def test_rules(refused, text, key, words):
    """Each broken rule is one problem at its value."""
    problems = refused(f"{MODELS}{text}\n")
    assert set(problems) == {key}
    assert words in problems[key].rule
    assert problems[key].line > 1


@pytest.mark.parametrize(
    ("matrix", "fix"),
    [
        ("{vars: {x: al}, sets: {s: a}}", "write a, of which it is an alias"),
        ("{vars: {x: aa}, sets: {s: a}}", 'did you mean "a"?'),
        ("{vars: {'x!': a}, sets: {s: a}}", ""),
        ("{vars: {long.name: a}, sets: {s: b & lon.name}}", 'did you mean "long.name"?, character 5 of the expression'),
        ("{sets: {both: a, s: +bot}}", 'did you mean "both"?, character 1 of the expression'),
        ("{sets: {s: b & org/x}}", "character 8 of the expression; a model whose ID has other characters needs a"),
        ("{sets: {s: (a}}", "character 3 of the expression"),
    ],
)
def test_mistakes_in_a_matrix_can_be_mended(refused, matrix, fix):
    """The place in the expression is named, and the nearest name."""
    (problem,) = refused(f"{MODELS}matrix: {matrix}\n").values()
    assert problem.fix.startswith(fix)
    assert fix or not problem.fix


def test_a_set_on_several_lines(refused):
    """A problem of a set stands at the line of its name, and every set has its own."""
    problems = refused(f"{MODELS}matrix:\n  sets:\n    s: |\n      a\n      & zz\n    t: yy\n")
    assert {key: problem.line for key, problem in problems.items()} == {"matrix.sets.s": 4, "matrix.sets.t": 7}


@pytest.mark.parametrize(
    ("use", "settings", "key"),
    [
        ("group", "{matrix: {sets: {s: zz}}}", "routing.router.settings.matrix.sets.s"),
        ("auto", "{matrix: {sets: {s: zz}}}", "routing.router.settings.matrix.sets.s"),
        (
            "matrix",
            "{groups: {g: {members: [zz]}}, matrix: {sets: {s: a}}}",
            "routing.router.settings.groups.g.members[0]",
        ),
    ],
)
def test_settings_out_of_force_only_warn(load, use, settings, key):
    """Both routers may have settings; those not in use are checked, and cannot stop the service."""
    config = load(f"{MODELS}routing: {{router: {{use: {use}, settings: {settings}}}}}\n")
    assert {problem.key for problem in config.warnings} == {"models.b", key}
    assert any(problem.rule.startswith("not in use, else wrong: ") for problem in config.warnings)


@pytest.mark.parametrize("router", ["{}", "{settings: {}}", "{settings: {groups: {}}}"])
def test_an_empty_router_is_none(load, router):
    """A new block without anything in it does not clash with the older spelling."""
    config = load(f"{MODELS}groups: {{g: {{members: [a]}}}}\nrouting: {{router: {router}}}\n")
    assert config.scheduler.groups[0].members == ("a",)


@pytest.mark.parametrize(
    ("routing", "words"),
    [
        ("routing: {router: {use: group}}", "is not in a routing group"),
        ("groups: {g: {members: [a, b]}}", "must share a group with swap: false"),
        ("groups: {g: {swap: false, members: [a]}}", "must share one routing group"),
        ("groups: {g: {swap: false, members: [a]}, h: {swap: false, members: [b]}}", "must share one routing group"),
        ("matrix: {sets: {s: a | b}}", "must all appear together in one expanded matrix set"),
    ],
)
def test_spillover_targets_that_cannot_run_together(refused, routing, words):
    """Starting the next target must not stop the one before."""
    problems = refused(f"{MODELS}{routing}\nselectors: {{s: {{strategy: spillover, targets: [al, b]}}}}\n")
    assert set(problems) == {"selectors.s.targets"}
    assert words in problems["selectors.s.targets"].rule


@pytest.mark.parametrize(
    "routing", ["groups: {g: {swap: false, members: [a, b]}}", "matrix: {sets: {s: '+t | a', t: a & b}}"]
)
def test_spillover_targets_that_can(load, routing):
    """One group without swapping will do, or one set."""
    load(f"{MODELS}{routing}\nselectors: {{s: {{strategy: spillover, targets: [al, b]}}}}\n")


def test_one_local_target_is_always_fine(load):
    """The other targets are elsewhere."""
    peers = "peers: {far: {proxy: 'http://h', models: [x]}}"
    load(f"{MODELS}{peers}\nselectors: {{s: {{strategy: spillover, targets: [a, x]}}}}\n")


@pytest.mark.parametrize(
    ("routing", "words"),
    [("", "only where the memory of devices can be measured"), ("routing: {router: {use: fit}}", None)],
)
def test_spillover_where_memory_decides(load, routing, words):
    """Memory lets the targets run at once, if there is something to measure."""
    config = load(f"{MODELS}{routing}\nselectors: {{s: {{strategy: spillover, targets: [al, b]}}}}\n")
    found = [problem.rule for problem in config.warnings if problem.key == "selectors.s.targets"]
    assert found == [] if words is None else words in found[0]


@pytest.mark.parametrize(
    ("text", "fit", "groups", "matrix"),
    [
        ("", "measured", 0, False),
        ("routing: {router: {use: auto}}", "measured", 0, False),
        ("routing: {router: {use: fit}}", "always", 0, False),
        ("routing: {router: {use: group}}", None, 0, False),
        ("groups: {g: {members: [a]}}", None, 1, False),
        ("routing: {router: {settings: {groups: {g: {members: [a]}}}}}", None, 1, False),
        ("routing: {router: {use: auto, settings: {groups: {g: {members: [a]}}}}}", None, 1, False),
        ("matrix: {sets: {s: a}}", None, 0, True),
        ("matrix: {sets: {s: a}}\nrouting: {router: {settings: {fit: {releaseTimeout: 2}}}}", None, 0, True),
        ("routing: {router: {settings: {matrix: {sets: {s: a}}}}}", None, 0, False),
        ("routing: {router: {use: matrix, settings: {matrix: {sets: {s: a}}}}}", None, 0, True),
        ("routing: {router: {use: fit, settings: {matrix: {sets: {s: a}}}}}", "always", 0, False),
        ("routing: {router: {use: fit, settings: {groups: {g: {members: [a]}}}}}", "always", 0, False),
    ],
)
def test_who_decides(load, text, fit, groups, matrix):
    """Memory by default; groups and a matrix where they are written, as in llama-swap, unless `fit` is chosen."""
    spec = load(f"{MODELS}{text}\n").scheduler
    assert (spec.fit and ("measured" if spec.fit.when_measured else "always")) == fit
    assert (len(spec.groups), spec.matrix is not None) == (groups, matrix)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ("{groups: {g: {members: [a]}}}", "routing.router.settings.groups"),
        ("{matrix: {sets: {s: a}}}", "routing.router.settings.matrix"),
    ],
)
def test_fit_leaves_the_others_idle(load, settings, key):
    """Whoever wrote groups hears that they mean nothing, and what to write."""
    config = load(f"{MODELS}routing: {{router: {{use: fit, settings: {settings}}}}}\n")
    (found,) = [problem for problem in config.warnings if problem.key == key]
    assert found.rule.startswith("not in use: memory decides")
    assert "use: " in found.fix


def test_fit_and_the_older_spelling(refused):
    """Both at once is a mistake, as for llama-swap's routers."""
    problems = refused(f"{MODELS}groups: {{g: {{members: [a]}}}}\nrouting: {{router: {{use: fit}}}}\n")
    assert "legacy top-level `groups`" in problems["groups"].rule
