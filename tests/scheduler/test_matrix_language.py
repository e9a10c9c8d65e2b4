"""The language of the matrix: what is read, and what is said about mistakes and where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.scheduler.policy.dsl import NESTING_LIMIT, DslError, Kind, parse
from llama_swap.scheduler.policy.sets import MatrixError, Part, check_matrix, linked_sets
from llama_swap.scheduler.spec import MatrixSpec


def shown(expression):
    """An expression with all its parentheses."""
    if expression.kind is Kind.MODEL:
        return expression.name
    if expression.kind is Kind.REFERENCE:
        return f"+{expression.name}"
    mark = "&" if expression.kind is Kind.ALL else "|"
    return f"({mark.join(shown(part) for part in expression.parts)})"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("a", "a"),
        (" a\t&\nb ", "(a&b)"),
        ("a|b&c|d", "(a|(b&c)|d)"),
        ("(a|b)&c", "((a|b)&c)"),
        ("((a))", "a"),
        ("+s&qwen2.5-7b_x", "(+s&qwen2.5-7b_x)"),
        ("a&(b&c)", "(a&(b&c))"),
        ("größe|模型", "(größe|模型)"),
    ],
)
def test_reading(text, meaning):
    """`&` binds tighter than `|`; white space means nothing."""
    assert shown(parse(text)) == meaning


@pytest.mark.parametrize(
    ("text", "message", "position"),
    [
        ("", "empty DSL expression", 0),
        (" \n", "empty DSL expression", 0),
        ("(a&b", "parse: missing closing parenthesis", 4),
        ("(a b)", "parse: missing closing parenthesis", 3),
        ("a b", 'parse: unexpected token "b" after expression', 2),
        ("a)", 'parse: unexpected token ")" after expression', 1),
        ("a +b", 'parse: unexpected token "b" after expression', 2),
        ("a&", 'parse: unexpected token ""', 2),
        ("a&&b", 'parse: unexpected token "&"', 2),
        ("|a", 'parse: unexpected token "|"', 0),
        ("()", 'parse: unexpected token ")"', 1),
        ("a ! b", "tokenize: unexpected character '!' at position 2", 2),
        ("  a!", "tokenize: unexpected character '!' at position 1", 3),
        ("a'", "tokenize: unexpected character '\\'' at position 1", 1),
        ("org/a", "tokenize: unexpected character '/' at position 3", 3),
        ("a&+ b", "tokenize: expected set name after '+' at position 3", 3),
    ],
)
def test_what_is_no_expression(text, message, position):
    """The words and positions of llama-swap; our own position counts from the start of the text as written."""
    with pytest.raises(DslError) as error:
        parse(text)
    assert (error.value.message, error.value.position) == (message, position)


def test_nesting_is_bounded():
    """A file cannot exhaust the stack."""
    assert shown(parse("(" * NESTING_LIMIT + "a" + ")" * NESTING_LIMIT)) == "a"
    with pytest.raises(DslError, match="inside each other"):
        parse("(" * 100_000)


@given(st.text(alphabet="ab+&|() !ü", max_size=12))
def test_any_text_is_read_or_refused(text):
    """What is read reads the same again; what is not has its mistake inside of the text."""
    position, meaning = 0, None
    try:
        meaning = shown(parse(text))
    except DslError as error:
        position = error.position
    assert 0 <= position <= len(text)
    assert meaning is None or shown(parse(meaning)) == meaning


def check(sets, models="abc", **keys):
    """All mistakes of a matrix."""
    return check_matrix(MatrixSpec(sets, **keys), models)


def test_a_matrix_without_mistakes():
    """Short names and models can be mixed, also in the costs."""
    assert check({"s": "x&b", "t": "+s|a"}, vars={"x": "a"}, evict_costs={"x": 3, "b": 1}) == ()


@pytest.mark.parametrize(
    ("sets", "keys", "error"),
    [
        ({}, {}, (Part.SETS, "", "matrix must define at least one set")),
        ({"s": "a&zz"}, {}, (Part.SETS, "s", 'set "s": unknown var or model "zz"', 2)),
        ({"s": "a&+zz"}, {}, (Part.SETS, "s", 'set "s" references undefined set "zz"', 2)),
        ({"s": ""}, {}, (Part.SETS, "s", 'set "s": empty DSL expression', 0)),
        ({"s": "(a"}, {}, (Part.SETS, "s", 'set "s": parse: missing closing parenthesis', 2)),
        (
            {'s"\\': "+"},
            {},
            (Part.SETS, 's"\\', 'set "s\\"\\\\": tokenize: expected set name after \'+\' at position 1', 1),
        ),
        ({"s": "+s"}, {}, (Part.SETS, "s", 'circular reference detected involving set "s"')),
        ({"r": "+t", "s": "a|+t", "t": "+s"}, {}, (Part.SETS, "t", 'circular reference detected involving set "t"')),
        ({"s": "a"}, {"vars": {"x": "zz"}}, (Part.VARS, "x", 'var key "x" references unknown model "zz"')),
        (
            {"s": "a"},
            {"evict_costs": {"a": 0}},
            (Part.EVICT_COSTS, "a", 'evict_cost for "a" must be a positive integer, got 0'),
        ),
        (
            {"s": "a"},
            {"evict_costs": {"zz": 1}},
            (Part.EVICT_COSTS, "zz", 'evict_costs: unknown var or model "zz"'),
        ),
    ],
)
def test_mistakes(sets, keys, error):
    """Each is named in llama-swap's words, with its place."""
    assert check(sets, **keys) == (MatrixError(*error),)


@pytest.mark.parametrize("name", ["x_y", "", "x" * 33, "ü", "a b"])
def test_short_names_are_short(name):
    """Letters, digits, '-' and '.', at most 32."""
    (error,) = check({"s": "a"}, vars={name: "a"})
    assert error.message == (
        f"var key \"{name}\" must contain only alphanumeric, '-' or '.' characters and be 1-32 characters long"
    )


def test_all_mistakes_are_found_at_once():
    """Nobody has to mend a file line by line."""
    errors = check({"r": "zz&!", "s": "zz|yy", "t": "+t"}, vars={"x": "zz"}, evict_costs={"zz": 0})
    assert [(error.part, error.name) for error in errors] == [
        (Part.VARS, "x"),
        (Part.EVICT_COSTS, "zz"),
        (Part.EVICT_COSTS, "zz"),
        (Part.SETS, "r"),
        (Part.SETS, "s"),
        (Part.SETS, "s"),
        (Part.SETS, "t"),
    ]


def test_sets_come_after_those_they_refer_to():
    """Else in the order of their definition."""
    sets = {"z": "a", "m": "+y|+b&+z", "b": "c", "y": "b"}
    assert list(linked_sets(MatrixSpec(sets))) == ["z", "y", "b", "m"]


def test_long_chains_of_references():
    """Neither depth nor width is a matter of the stack."""
    sets = {f"s{n}": f"+s{n + 1}&+s{n + 1}" for n in range(3000)} | {"s3000": "a"}
    assert check(sets) == ()
    assert next(iter(linked_sets(MatrixSpec(sets)))) == "s3000"
