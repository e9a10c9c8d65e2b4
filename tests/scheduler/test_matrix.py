"""The matrix as a policy: who must leave, beside a slow second implementation, and how long it takes to say."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import are_allowed_together, expansions, matrices

from llama_swap.scheduler import RuleKind, Ruling, can_coexist
from llama_swap.scheduler.policy.alternatives import CHOICES_LIMIT
from llama_swap.scheduler.policy.matrix import MEMORY_SIZE, MatrixPolicy
from llama_swap.scheduler.policy.ruling import Neighbours
from llama_swap.scheduler.spec import GroupSpec, MatrixSpec, ModelSpec, SchedulerSpec, TieBreak

MODELS = "abcdef"


def policy(sets, models=MODELS, **keys):
    """The policy of a matrix; one expression is a set ``s``."""
    sets = {"s": sets} if isinstance(sets, str) else sets
    return MatrixPolicy.of(MatrixSpec(sets, **keys), models)


def victims(matrix, target, staying="", leaving=""):
    """Who must leave, in alphabetical order."""
    return "".join(sorted(matrix.victims(target, Neighbours(tuple(staying), tuple(leaving)))))


@pytest.mark.parametrize(
    ("sets", "target", "staying", "expected"),
    [
        ("(a|b)&c", "b", "ac", "a"),
        ("(a|b)&c", "c", "b", ""),
        ("a|b&c", "b", "a", "a"),
        ("a|b&c", "b", "c", ""),
        ("a&b", "c", "ab", "ab"),
        ("a&b", "a", "c", "c"),
        ("a&b&c", "a", "", ""),
        ({"s": "a&b", "t": "+s&c"}, "c", "ab", ""),
        ({"t": "+s&c", "s": "a|b"}, "b", "ac", "a"),
        ({"s": "a&b", "t": "b&c", "u": "a&c"}, "b", "ac", "c"),
        ({"t": "+u|b&c", "u": "a&b"}, "b", "ac", "c"),
        ("(a|b)&c|a&d", "c", "ab", "b"),
        ("c&(a|b|a&e)&e|b&d|a&d", "c", "abe", "b"),
    ],
)
def test_who_must_leave(sets, target, staying, expected):
    """Together, instead, alone; a set before those that refer to it, else the first one where costs are equal."""
    assert victims(policy(sets), target, staying) == expected


def test_costs_decide_before_the_order():
    """Whatever is cheap to load again leaves."""
    sets = {"s": "a&b", "t": "b&c"}
    assert victims(policy(sets, evict_costs={"c": 50}), "b", "ac") == "a"
    assert victims(policy(sets, vars={"x": "c"}, evict_costs={"x": 2}), "b", "ac") == "a"
    assert victims(policy({"s": "a&b", "t": "b&c&d"}, evict_costs={"a": 2}), "b", "acd") == "cd"


def test_lru_keeps_what_was_used_last():
    """Where costs are equal; the order of definition is the last word."""
    sets = {"s": "a&b", "t": "b&c", "u": "b&d"}
    lru = policy(sets, tie_break=TieBreak.LRU)
    assert victims(lru, "b", "ac") == "a"
    assert victims(lru, "b", "ca") == "c"
    assert victims(policy(sets, tie_break=TieBreak.LRU, evict_costs={"c": 2}), "b", "ca") == "a"
    assert victims(policy("b&(a&c|d&e|d&f)", tie_break=TieBreak.LRU), "b", "facde") == "acf"


def test_what_leaves_anyway_costs_nothing():
    """Nobody is sent away for the sake of a model that is going, but who waits for nobody is better still."""
    sets = {"s": "a&b", "t": "b&c"}
    assert victims(policy(sets, evict_costs={"a": 50}), "b", "c", leaving="a") == "a"
    assert victims(policy({"s": "a&b", "t": "b&c&d"}), "b", "", leaving="acd") == "a"
    assert victims(policy({"s": "a&b&d", "t": "b&c&d"}), "b", "d", leaving="ac") == "c"
    assert victims(policy({"s": "a&b", "t": "a&b&c"}), "b", "a", leaving="c") == ""


def test_the_ruling_names_the_set():
    """For the log and for `explain`."""
    matrix = policy({"s": "a&b", "t": "(b|d) & c"}, evict_costs={"a": 7})
    neighbours = Neighbours(("a", "c"))
    assert matrix.ruling("b", neighbours) == Ruling(RuleKind.MATRIX, ("c",), "s", "a&b", 1)
    assert matrix.ruling("d", neighbours) == Ruling(RuleKind.MATRIX, ("a",), "t", "(b|d) & c", 7)
    alone = Ruling(RuleKind.MATRIX, ("c", "a"), "", "in no set: runs alone", 7)
    assert matrix.ruling("f", Neighbours(("a",), ("c",))) == alone


def test_mistakes_are_refused():
    """The configuration was to be checked before."""
    with pytest.raises(ValueError, match=r'set "s": unknown var or model "zz"; set "t": parse: missing'):
        policy({"s": "zz", "t": "(a"})


@settings(max_examples=150)
@given(matrices(MODELS), st.sampled_from(MODELS), st.permutations(MODELS), st.integers(0, 6), st.integers(0, 6))
def test_the_best_choice_is_the_best(matrix, target, order, leaving, staying):
    """The same victims and the same set as when all alternatives are written out and compared."""
    neighbours = Neighbours(tuple(order[leaving : leaving + staying]), tuple(order[:leaving]))
    ruling = MatrixPolicy.of(matrix, MODELS).ruling(target, neighbours)
    others = [model for model in neighbours.models if model != target]

    def badness(alternative):
        stopped = [model for model in neighbours.staying if model != target and model not in alternative]
        cost = sum(matrix.evict_costs.get(model, 1) for model in stopped)
        uses = [-others.index(m) for m in reversed(others) if m in neighbours.staying and m in alternative]
        recency = uses if matrix.tie_break is TieBreak.LRU else []
        return cost, [*recency, 1], sum(model not in alternative for model in neighbours.leaving if model != target)

    ways = [way for way in expansions(matrix) if target in way[1]]
    if not ways:
        assert set(ruling.victims) == set(others)
        return
    name, alternative = min(ways, key=lambda way: badness(way[1]))
    assert set(ruling.victims) == set(others) - alternative
    assert (ruling.name, ruling.text, ruling.cost) == (name, matrix.sets[name], badness(alternative)[0])


@settings(max_examples=60)
@given(matrices(MODELS), st.sets(st.sampled_from(MODELS)))
def test_coexistence(matrix, models):
    """One alternative of one set has them all."""
    spec = SchedulerSpec({m: ModelSpec(m, "v1") for m in MODELS}, matrix=matrix)
    assert can_coexist(spec, models) == are_allowed_together(matrix, models)


@pytest.mark.parametrize(
    ("groups", "models", "expected"),
    [
        ([], "a", True),
        ([], "ab", False),
        ([GroupSpec("g", ("a", "b"), swap=False)], "ab", True),
        ([GroupSpec("g", ("a", "b"), swap=False)], "abc", False),
        ([GroupSpec("g", ("a", "b"))], "ab", False),
        ([GroupSpec("g", ("a",), exclusive=False), GroupSpec("h", ("b",), exclusive=False)], "ab", True),
        ([GroupSpec("g", ("a",), exclusive=False)], "ab", False),
        ([GroupSpec("g", ("a",), exclusive=False, persistent=True)], "ab", True),
    ],
)
def test_coexistence_in_groups(groups, models, expected):
    """In whatever order they start, none has to leave for another."""
    assert can_coexist(SchedulerSpec(groups=tuple(groups)), models) is expected


# --- how much work it is ------------------------------------------------------------


def numbered(letter, count):
    """Names of models."""
    return [f"{letter}{n}" for n in range(count)]


@pytest.fixture
def steps(monkeypatch):
    """How many choices were compared; time would say less and fail on a busy machine."""
    from llama_swap.scheduler.policy import alternatives  # noqa: PLC0415 - only this fixture looks inside

    compared = []
    lead = alternatives._lead
    monkeypatch.setattr(alternatives, "_lead", lambda *parts: compared.append(0) or lead(*parts))
    return compared


@pytest.mark.parametrize("running", ["a", "b", "ab"])
def test_a_million_alternatives(steps, running):
    """``(a0|b0)&(a1|b1)&...``: each clause is settled by itself, even where all contradict each other."""
    a, b = numbered("a", 40), numbered("b", 40)
    text = "&".join(f"({one}|{other})" for one, other in zip(a, b, strict=True))
    matrix = policy(text, models={*a, *b}, evict_costs=dict.fromkeys(b[5:], 3))
    staying = [m for m in (*a, *b) if m[0] in running and m != "b3"]
    expected = {"a": {"a3"}, "b": set(), "ab": {"a3", *b[:3], b[4], *a[5:]}}[running]
    assert set(matrix.victims("b3", Neighbours(tuple(staying)))) == expected
    assert len(steps) < 1000


def test_alternatives_that_cannot_be_settled_one_by_one(steps):
    """Each model is in several clauses (a hard problem in general): the answer is bounded and still an alternative."""
    models = numbered("m", 60)
    clauses = [f"({models[n]}|{models[(7 * n + 1) % 60]}|{models[(11 * n + 5) % 60]})" for n in range(60)]
    spec = MatrixSpec({"s": "&".join(clauses) + "&t"}, evict_costs={m: n % 5 + 1 for n, m in enumerate(models)})
    ruling = MatrixPolicy.of(spec, {*models, "t"}).ruling("t", Neighbours(tuple(models)))
    kept = set(models) - set(ruling.victims)
    assert ruling.cost < 10, "out of 180; the best choice costs nothing"
    assert len(steps) < 60 * 3 * CHOICES_LIMIT * CHOICES_LIMIT
    # Picking one of each clause gives the kept ones and no other, and picks them all.
    ways = [set(clause.strip("()").split("|")) & kept for clause in clauses]
    assert all(ways)


def test_references_multiply_without_expansion(steps):
    """Each set takes the one before twice: 2^300 names when written out."""
    sets = {"s0": "a|b"} | {f"s{n}": f"+s{n - 1}&(+s{n - 1}|c)" for n in range(1, 300)}
    matrix = policy({**sets, "t": "+s299&d"})
    assert victims(matrix, "d", "ab") == ""
    assert len(steps) < 10_000


def test_many_sets_of_many_models():
    """A big configuration with everything running answers within the patience of one request."""
    models = numbered("m", 200)
    sets = {f"s{n}": "&".join(f"({x}|{y})" for x, y in pairwise(models[n : n + 40])) for n in range(0, 160, 4)}
    spec = MatrixSpec(sets)
    matrix = MatrixPolicy.of(spec, models)
    gone = matrix.victims("m100", Neighbours(tuple(models[90:110])))
    assert "m100" not in gone


def test_answers_are_remembered_but_not_for_ever():
    """The memory is bounded and changes no answer."""
    matrix = policy("a&b|c")
    first = matrix.ruling("a", Neighbours(("c",)))
    assert matrix.ruling("a", Neighbours(("c",))) is first
    for n in range(MEMORY_SIZE + 1):
        matrix.ruling("a", Neighbours((f"m{n}",)))
    assert len(matrix.answers) <= MEMORY_SIZE
    assert matrix.ruling("a", Neighbours(("c",))) == first
