"""Whose a request is, how urgent, and how long its model shall stay loaded."""

import json
import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.api.terms import capped, keep_alive_seconds, take_residency
from llama_swap.api.visit import Visit
from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.body import BodyRules, apply_rules, read_model
from llama_swap.scheduler.events import NO_TERMS, Terms


def config(*, honoured=True, longest=0.0):
    """The part of a configuration that is asked."""
    return SimpleNamespace(keep_alive_honoured=honoured, keep_alive_max_seconds=longest)


def model(ttl=0.0):
    """The part of a model that is asked."""
    return SimpleNamespace(ttl_seconds=ttl)


def take(body, *, rules=None, settings=None, ttl=0.0):
    """(terms, body for the upstream) of a request with this body."""
    raw, visit = json.dumps(body).encode(), Visit(None)
    rules = take_residency(read_model(raw), rules or BodyRules(), model(ttl), visit, settings or config())
    return visit.terms, json.loads(apply_rules(raw, rules))


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        (b"0", 0),
        (b"300", 300),
        (b"2.5", 2.5),
        (b"-1", math.inf),
        (b"-0.5", math.inf),
        (b'"5m"', 300),
        (b'"1h30m"', 5400),
        (b'"300ms"', 0.3),
        (b'"0"', 0),
        (b'"-1"', math.inf),
        (b'"-1m"', math.inf),
        (b"null", None),
    ],
)
def test_forms_of_a_keep_alive(raw, seconds):
    """Ollama's forms, and a number in quotes."""
    assert keep_alive_seconds("keep_alive", raw) == seconds


@pytest.mark.parametrize(
    "raw",
    [
        b"true",
        b"false",
        b'""',
        b'"soon"',
        b"[1]",
        b'{"a":1}',
        b"1e300",
        b'"9' + b"9" * 200 + b'"',
        b'"1' + b"0" * 60 + b'"',
    ],
)
def test_what_is_no_time_is_refused_in_words(raw):
    """The error names the key, the value, the rule, and is as short as the value is long."""
    with pytest.raises(RequestError) as caught:
        keep_alive_seconds("ttl", raw)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.message.startswith(f"ttl: {raw[:20].decode()}")
    assert '"5m"' in caught.value.message
    assert len(caught.value.message) < 300


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(JSON_VALUES)
def test_any_value_is_a_time_from_0_on_or_refused(value):
    """Nothing else comes out, and no other exception."""
    try:
        seconds = keep_alive_seconds("keep_alive", json.dumps(value).encode())
    except RequestError:
        return
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("key", ["keep_alive", "ttl"])
def test_it_is_taken_out_of_the_body(key):
    """The model's server does not know the key; the other values stay."""
    terms, body = take({"model": "m", key: "5m", "n": 1})
    assert terms.keep_alive_seconds == 300
    assert body == {"model": "m", "n": 1}


def test_null_says_nothing_and_is_taken_out():
    """As if it were not there."""
    terms, body = take({"model": "m", "keep_alive": None})
    assert terms is NO_TERMS
    assert body == {"model": "m"}


def test_keep_alive_goes_before_ttl():
    """Where both are there one has to count, and null is none."""
    assert take({"model": "m", "ttl": 7, "keep_alive": 8})[0].keep_alive_seconds == 8
    assert take({"model": "m", "ttl": 7, "keep_alive": None})[0].keep_alive_seconds == 7


def test_the_one_that_does_not_count_must_be_right_too():
    """A mistake is told wherever it is."""
    with pytest.raises(RequestError, match=r"^ttl: "):
        take({"model": "m", "ttl": "x", "keep_alive": 8})


def test_a_body_without_them_is_left_alone():
    """The usual request costs nothing more, and its rules are the same object."""
    rules, visit = BodyRules(), Visit(None)
    assert take_residency(read_model(b'{"model":"m"}'), rules, model(), visit, config()) is rules
    assert visit.terms is NO_TERMS


def test_where_it_is_not_honoured_it_is_still_taken_out():
    """And not looked at, so nothing can be wrong with it."""
    terms, body = take({"model": "m", "keep_alive": "soon"}, settings=config(honoured=False))
    assert terms is NO_TERMS
    assert body == {"model": "m"}


def test_what_the_configuration_sets_goes_through():
    """A model whose server is an Ollama can be given one on purpose."""
    rules = BodyRules(strip_params=("n",), set_params={"keep_alive": "1h"})
    assert take({"model": "m", "keep_alive": 0, "n": 1}, rules=rules)[1] == {"model": "m", "keep_alive": "1h"}


def test_caller_stays():
    """The wish is added to what is known of the caller."""
    visit = Visit(None, terms=Terms(caller="agents", priority=2))
    take_residency(read_model(b'{"model":"m","ttl":60}'), BodyRules(), model(), visit, config())
    assert visit.terms == Terms(caller="agents", priority=2, keep_alive_seconds=60)


@pytest.mark.parametrize(
    ("seconds", "longest", "ttl", "expected"),
    [
        (7200, 0, 600, 7200),
        (math.inf, 0, 600, math.inf),
        (7200, 3600, 600, 3600),
        (math.inf, 3600, 600, 3600),
        (60, 3600, 600, 60),
        (0, 3600, 600, 0),
        (9000, 3600, 7200, 7200),
        (math.inf, 3600, 0, math.inf),
    ],
)
def test_cap(seconds, longest, ttl, expected):
    """Nobody gets more than keepAlive.max, or than the model has anyway (a ttl of 0 is for ever)."""
    assert capped(seconds, model(ttl), config(longest=longest)) == expected
