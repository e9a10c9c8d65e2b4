"""body: reading a JSON body, finding its model, applying rules."""

import asyncio
import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.errors import Reason, RequestError
from llama_swap.proxy import body as body_module
from llama_swap.proxy.body import BodyRules, ModelField, apply_rules, read_body, read_model

RAW = b'{ "model" : "m","one":1.0,"huge":1e400,"id":9007199254740993, "s":"\\u00e9\\/","z":{"b" : 1,"a":[ 2,3 ]}}'


class FakeRequest:
    """What read_body needs of a request: content, headers and content_length."""

    def __init__(self, pieces, headers=None, length=None):
        self.content = self
        self.headers = headers or {}
        self.content_length = length
        self.pieces = list(pieces)

    def is_eof(self):
        """Part of the stand-in: more may come."""
        return False

    def at_eof(self):
        """Part of the stand-in."""
        return not self.pieces

    def read_nowait(self):
        """Part of the stand-in: nothing has come yet."""
        return b""

    async def readany(self):
        """Part of the stand-in."""
        await asyncio.sleep(0)
        return self.pieces.pop(0)


@pytest.mark.parametrize(
    ("body", "name", "stream"),
    [
        (b'{"model":"m"}', "m", False),
        (b' {"x":{"model":"inner"},"stream":true,"model":"m\\u00e9/\\"x"} ', 'mé/"x', True),
        (b'{"model":"a","model":"b"}', "b", False),
        (b'{"mod\\u0065l":"m"}', "m", False),
        (b'{"model":123}', "123", False),
        (b'{"model":-7}', "-7", False),
        (b'{"model":1.50}', "1.5", False),
        (b'{"model":2.0}', "2", False),
        (b'{"model":true,"stream":1}', "true", False),
        (b'{"model":null}', None, False),
        (b'{"model":""}', None, False),
        (b'{"stream":false}', None, False),
        (b'["model"]', None, False),
        (b'"model"', None, False),
        (b"", None, False),
        (b" \n", None, False),
    ],
)
def test_read_model(body, name, stream):
    """The top-level model is found and spelled as llama-swap spells it."""
    assert read_model(body) == ModelField(name, stream)


@pytest.mark.parametrize(
    ("body", "keep_alive", "ttl"),
    [
        (b'{"model":"m"}', b"", b""),
        (b'{"model":"m","keep_alive": "5m" ,"ttl":60}', b'"5m"', b"60"),
        (b'{"keep_alive":null}', b"null", b""),
        (b'{"keep_alive":1,"keep_alive":2,"x":{"ttl":3}}', b"2", b""),
    ],
)
def test_what_a_body_says_of_residency(body, keep_alive, ttl):
    """Only the top of the body counts, and what is absent differs from null."""
    asked = read_model(body)
    assert (asked.keep_alive.strip(), asked.ttl.strip()) == (keep_alive, ttl)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"model":"m",\n "x": }', "line 2"),
        (b'{"model":"m"', ""),
        (b'{"model":"m"}x', ""),
        (b"\xef\xbb\xbf{}", ""),
        (b'{"a":nul}', ""),
        (b'{"model":"\xff"}', ""),
        (b'{"a":' + b"[" * 100_000, ""),
    ],
)
def test_malformed_json_is_an_error_with_its_position(body, where):
    """Malformed JSON is INVALID_JSON, whatever its kind, and never another exception."""
    with pytest.raises(RequestError) as caught:
        read_model(body)
    assert caught.value.reason is Reason.INVALID_JSON
    assert where in caught.value.message


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:model\\u0123eE+-. \nrtfalsn', max_size=60).map(str.encode))
def test_read_model_agrees_with_json(body):
    """Any bytes give a field or INVALID_JSON; what the standard library accepts as an object is accepted alike."""
    try:
        found = read_model(body)
    except RequestError as error:
        assert error.reason is Reason.INVALID_JSON  # noqa: PT017 - either outcome is right
        return
    try:
        parsed = json.loads(body)
    except ValueError:
        return
    if isinstance(parsed, dict) and isinstance(parsed.get("model"), str):
        assert found.name == (parsed["model"] or None)


def test_no_rule_gives_the_same_object():
    """An untouched body is not copied."""
    assert apply_rules(RAW, BodyRules()) is RAW
    assert apply_rules(RAW, BodyRules(strip_params=("absent", "z.absent", "model", "one.x"))) is RAW


def test_untouched_values_keep_their_bytes():
    """Numbers, escapes, inner white space and the order of keys survive every edit beside them."""
    rules = BodyRules(use_model_name="up", strip_params=("one",), set_params={"t": 0.1}, requested_params={"n": None})
    assert apply_rules(RAW, rules) == (
        b'{"model":"up","huge":1e400,"id":9007199254740993,"s":"\\u00e9\\/","z":{"b" : 1,"a":[ 2,3 ]},"t":0.1,"n":null}'
    )


@pytest.mark.parametrize(
    ("body", "rules", "expected"),
    [
        ('{"model":"m"}', BodyRules(strip_params=("model",), set_params={"model": "x", "model.y": 1}), '{"model":"m"}'),
        ('{"a":1,"b":2}', BodyRules(strip_params=("a",), set_params={"a": 3}), '{"b":2,"a":3}'),
        ('{"a":1}', BodyRules(set_params={"a": 2}, requested_params={"a": 3}), '{"a":3}'),
        ('{"a":{"b":1, "c":2}}', BodyRules(strip_params=("a.b",)), '{"a":{"c":2}}'),
        ('{"a.b":1,"a":{"b":2}}', BodyRules(strip_params=(r"a\.b",)), '{"a":{"b":2}}'),
        ('{"a":[1, 2.0,3]}', BodyRules(strip_params=("a.0",), set_params={"a.1": "x"}), '{"a":[2.0,"x"]}'),
        ('{"a":[1]}', BodyRules(set_params={"a.-1": 2, "a.3": 4}), '{"a":[1,2,null,4]}'),
        ('{"a":[1,2]}', BodyRules(strip_params=("a.-1",)), '{"a":[1]}'),
        ("{}", BodyRules(set_params={"k.enable": False}), '{"k":{"enable":false}}'),
        ("{}", BodyRules(set_params={"k.0.x": 1, "o.:0": 2}), '{"k":[{"x":1}],"o":{"0":2}}'),
        ('{"k":1}', BodyRules(set_params={"k.x": 1}), '{"k":{"x":1}}'),
        ('{"a":[1]}', BodyRules(set_params={"a.x": 1}), '{"a":[1]}'),
        ('{"a":[]}', BodyRules(set_params={"a.99999999": 1}), '{"a":[]}'),
        ("[1]", BodyRules(set_params={"a": 1}, use_model_name="x"), "[1]"),
    ],
)
def test_rules(body, rules, expected):
    """Order, paths, arrays and the model that is out of reach."""
    assert apply_rules(body.encode(), rules).decode() == expected


def test_rules_on_malformed_json():
    """Rules do not hide a malformed body."""
    with pytest.raises(RequestError) as caught:
        apply_rules(b'{"a":', BodyRules(set_params={"a": 1}))
    assert caught.value.reason is Reason.INVALID_JSON


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KEY = st.sampled_from(["a", "b", "c.d", "c.e"])


@given(
    document=st.dictionaries(st.sampled_from("abx"), JSON, max_size=4),
    inner=st.dictionaries(st.sampled_from("def"), JSON, max_size=3),
    strip=st.lists(KEY, max_size=3),
    params=st.dictionaries(KEY, JSON, max_size=3),
)
def test_rules_do_what_they_say(document, inner, strip, params):
    """The result equals the same edits on a parsed document."""
    document["c"] = inner
    expected = json.loads(json.dumps(document))
    for key in strip:
        where, name = (expected.get("c", {}), key[2:]) if key.startswith("c.") else (expected, key)
        where.pop(name, None)
    for key, value in params.items():
        where, name = (expected.setdefault("c", {}), key[2:]) if key.startswith("c.") else (expected, key)
        where[name] = value
    result = apply_rules(json.dumps(document).encode(), BodyRules(strip_params=tuple(strip), set_params=params))
    assert json.loads(result) == expected


async def test_read_body_gives_one_piece_through_and_joins_many():
    """A body that came in one read is not copied; several are joined."""
    piece = b"x" * 10
    assert await read_body(FakeRequest([piece]), limit_bytes=0) is piece
    assert await read_body(FakeRequest([b"a", b"", b"b", b"c"]), limit_bytes=0) == b"abc"
    assert await read_body(FakeRequest([]), limit_bytes=0) == b""


@pytest.mark.parametrize("length", [None, 11])
async def test_body_limit(length):
    """A body over the limit is refused, by its declared length before anything is read; one at the limit passes."""
    assert await read_body(FakeRequest([b"12345", b"67890"]), limit_bytes=10) == b"1234567890"
    request = FakeRequest([b"12345", b"678901"], length=length)
    with pytest.raises(RequestError) as caught:
        await read_body(request, limit_bytes=10)
    assert caught.value.reason is Reason.BODY_TOO_LARGE
    assert len(request.pieces) == (2 if length else 0)


def raw_deflate(data):
    """Deflate without zlib's header, as some clients send it."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("Deflate", raw_deflate)]
)
async def test_packed_bodies_are_unpacked(coding, pack, step):
    """Gzip and both kinds of deflate, in pieces of any size."""
    data = RAW * 300
    packed = pack(data)
    pieces = [packed[start : start + step] for start in range(0, len(packed), step)]
    assert await read_body(FakeRequest(pieces, {"Content-Encoding": coding}), limit_bytes=0) == data


async def test_packed_bodies_are_bounded(monkeypatch):
    """A small body that unpacks to a large one meets the limit, and there is one where none is configured."""
    bomb = gzip.compress(bytes(5_000_000))
    for limit in (1_000_000, 0):
        monkeypatch.setattr(body_module, "COMPRESSED_LIMIT_BYTES", 2_000_000)
        with pytest.raises(RequestError) as caught:
            await read_body(FakeRequest([bomb], {"Content-Encoding": "gzip"}), limit_bytes=limit)
        assert caught.value.reason is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize(
    ("coding", "data"),
    [("gzip", b"no gzip"), ("gzip", gzip.compress(RAW)[:-9]), ("br", b"x"), ("gzip, gzip", b"x")],
    ids=["not packed", "cut", "unknown", "packed twice"],
)
async def test_broken_or_unknown_codings_are_refused(coding, data):
    """What cannot be unpacked whole is the client's mistake."""
    with pytest.raises(RequestError) as caught:
        await read_body(FakeRequest([data], {"Content-Encoding": coding}), limit_bytes=0)
    assert caught.value.reason is Reason.INVALID_REQUEST
