"""Tokens and speeds out of answers, in the styles of all servers that llama-swap knows."""

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.activity.sample import HEAD_BYTES, TAIL_BYTES, BodySampler
from llama_swap.activity.usage import NO_USAGE, Usage, is_quickly_read, read_usage

OPENAI = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
CACHED = {**OPENAI, "prompt_tokens_details": {"cached_tokens": 8}}
ANTHROPIC = {"input_tokens": 30, "output_tokens": 6, "cache_read_input_tokens": 4}
RESPONSES = {"input_tokens": 40, "output_tokens": 9, "input_tokens_details": {"cached_tokens": 3}}
TIMINGS = {
    "cache_n": 7,
    "prompt_n": 11,
    "prompt_ms": 22.0,
    "prompt_per_second": 500.0,
    "predicted_n": 5,
    "predicted_ms": 50.0,
    "predicted_per_second": 100.0,
}
METRICS = {
    "time_to_first_token_ms": 50.0,
    "mean_itl_ms": 20.0,
    "speculative_decoding": {"num_draft_tokens": 12, "num_accepted_draft_tokens": 9},
}
LLAMA_CPP = Usage(11, 5, 7, -1, -1, 500, 100, 72)
TRAP = 'He wrote "usage": {"prompt_tokens": 99} and \\"timings\\": {"prompt_n": 99}. '


def whole(body, content_type="application/json", encoding="", status=200):
    """A sample as the proxy makes it."""
    sampler = BodySampler()
    sampler.add(body)
    return sampler.sample(content_type=content_type, content_encoding=encoding, status=status, complete=True)


def answer(**members):
    """The usage of a plain answer with these members."""
    return read_usage(whole(json.dumps({"choices": [{"message": {"content": TRAP}}], **members}).encode()))


def sse(*events, done=True):
    """A stream of these events."""
    lines = [f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events]
    return "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


def stream(*events, done=True):
    """The usage of a stream of these events."""
    return read_usage(whole(sse(*events, done=done), "text/event-stream; charset=utf-8"))


def tokens(count):
    """Chunks of text as a model streams it."""
    return [{"choices": [{"delta": {"content": TRAP}}], "usage": None} for _ in range(count)]


PLAIN = [
    ({"usage": OPENAI}, Usage(20, 5, -1, -1, -1, -1, -1)),
    ({"usage": CACHED}, Usage(20, 5, 8, -1, -1, -1, -1)),
    ({"usage": ANTHROPIC}, Usage(30, 6, 4, -1, -1, -1, -1)),
    ({"usage": RESPONSES}, Usage(40, 9, 3, -1, -1, -1, -1)),
    ({"usage": OPENAI, "timings": TIMINGS}, LLAMA_CPP),
    ({"timings": TIMINGS}, LLAMA_CPP),
    (
        {"usage": OPENAI, "timings": {**TIMINGS, "draft_n": 6, "draft_n_accepted": 4}},
        Usage(11, 5, 7, 6, 4, 500, 100, 72),
    ),
    ({"usage": OPENAI, "timings": {**TIMINGS, "draft_n": 6}}, LLAMA_CPP),
    ({"usage": CACHED, "metrics": METRICS}, Usage(20, 5, 8, 12, 9, 240, 50)),
    (
        {"usage": OPENAI, "metrics": {**METRICS, "speculative_decoding": {"num_draft_tokens": 12}}},
        Usage(20, 5, -1, -1, -1, 400, 50),
    ),
    ({"usage": {"prompt_tokens": 3, "total_tokens": 3}}, Usage(3, 0, -1, -1, -1, -1, -1)),
    ({"usage": {**OPENAI, "prompt_tokens_details": {"cached_tokens": 0}}}, Usage(20, 5, 0, -1, -1, -1, -1)),
]


@pytest.mark.parametrize(("members", "expected"), PLAIN)
def test_plain_answers(members, expected):
    """Usage, llama.cpp's timings over it, vLLM's metrics; unknown counters are -1, half a speculation is none."""
    assert answer(**members) == expected


@pytest.mark.parametrize(("members", "expected"), PLAIN)
def test_streams(members, expected):
    """The same in the last events of a stream, each in an event of its own."""
    last = [{"choices": [], name: value} for name, value in members.items()]
    assert stream(*tokens(3), *last) == expected
    assert stream(*tokens(2000), *last) == expected


@pytest.mark.parametrize(("members", "expected"), PLAIN)
@pytest.mark.parametrize("pad", [HEAD_BYTES // len(TRAP), 3 * HEAD_BYTES // len(TRAP)])
def test_long_answers(members, expected, pad):
    """An answer that is not kept whole tells its usage from its end, or from its beginning."""
    long = [TRAP] * pad
    assert answer(x=long, **members) == expected
    assert read_usage(whole(json.dumps({**members, "data": long}).encode())) == expected


@pytest.mark.parametrize("count", [0, 3, 3000])
def test_anthropic_stream(count):
    """Input comes with message_start, output with message_delta, however much is between them."""
    start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 30, "output_tokens": 1}}}
    text = [{"type": "content_block_delta", "delta": {"text": TRAP}} for _ in range(count)]
    delta = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 6}}
    found = stream(start, *text, delta, {"type": "message_stop"}, done=False)
    assert found == Usage(30, 6, -1, -1, -1, -1, -1)


@pytest.mark.parametrize("count", [1, 100, 3 * TAIL_BYTES // len(TRAP), 2 * HEAD_BYTES // len(TRAP)])
def test_responses_stream(count):
    """response.completed repeats the whole answer; its usage is found even where that is longer than what is kept."""
    completed = {"type": "response.completed", "response": {"output": [TRAP] * count, "usage": RESPONSES, "tools": []}}
    created = {"type": "response.created", "response": {"id": "r", "usage": None}}
    assert stream(created, *tokens(2), completed, done=False) == Usage(40, 9, 3, -1, -1, -1, -1)


@pytest.mark.parametrize("count", [1, 2 * HEAD_BYTES // len(TRAP)])
def test_infill(count):
    """llama.cpp answers /infill with an array; the last element has the timings."""
    body = json.dumps([{"content": TRAP}, {"content": [TRAP] * count, "timings": TIMINGS}]).encode()
    assert read_usage(whole(body)) == LLAMA_CPP


def _raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", _raw_deflate), ("deflate", zlib.compress)]
)
@pytest.mark.parametrize("count", [1, 5000])
def test_compressed_answers(encoding, pack, count):
    """Compressed bodies are read, plain and streamed, also when they unpack to more than is kept of others."""
    body = json.dumps({"x": [TRAP] * count, "usage": OPENAI, "timings": TIMINGS}).encode()
    assert read_usage(whole(pack(body), encoding=encoding)) == LLAMA_CPP
    events = sse(*tokens(count), {"choices": [], "timings": TIMINGS})
    assert read_usage(whole(pack(events), "text/event-stream", encoding)) == LLAMA_CPP


def test_a_later_zero_does_not_undo_a_count():
    """In a stream the last positive value wins."""
    found = stream({"usage": CACHED}, {"usage": {"prompt_tokens": 0, "completion_tokens": 7}})
    assert found == Usage(20, 7, 8, -1, -1, -1, -1)


def test_json_with_nan_still_gives_usage():
    """Some servers write NaN, which is not JSON; the usage behind it is."""
    body = b'{"choices":[{"logprob": NaN}],"usage":' + json.dumps(OPENAI).encode() + b"}\n"
    assert read_usage(whole(body)) == Usage(20, 5, -1, -1, -1, -1, -1)


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "status"),
    [
        (b"", "application/json", "", 200),
        (json.dumps({"usage": OPENAI}).encode(), "application/json", "", 500),
        (json.dumps({"choices": []}).encode(), "application/json", "", 200),
        (b"plain text", "text/plain", "", 200),
        (b"[]", "application/json", "", 200),
        (b"not gzip", "application/json", "gzip", 200),
        (b"\xce\xb2", "application/json", "br", 200),
        (sse(*tokens(3)), "text/event-stream", "", 200),
        (json.dumps({"usage": [1], "timings": "fast", "message": "hi", "response": 3}).encode(), "x", "", 200),
    ],
)
def test_answers_without_usage(body, content_type, encoding, status):
    """Errors, other formats and silence are all zeros."""
    assert read_usage(whole(body, content_type, encoding, status)) is NO_USAGE


def cut(body, content_type):
    """A sample of an answer whose upstream died, or whose client left."""
    sampler = BodySampler()
    sampler.add(body)
    return sampler.sample(content_type=content_type, content_encoding="", status=200, complete=False)


@pytest.mark.parametrize("count", [1, 2 * HEAD_BYTES // len(TRAP)])
def test_a_cut_document_is_not_read_backward(count):
    """Without its end nobody knows what the last bytes belong to."""
    body = json.dumps({"data": [TRAP] * count}).encode()[:-2] + b', {"usage": {"prompt_tokens": 99}}'
    assert read_usage(cut(body, "application/json")) is NO_USAGE


@pytest.mark.parametrize("count", [0, 3000])
def test_a_cut_stream_tells_what_it_told(count):
    """A client that left has still used the prompt's tokens; an event that was cut tells nothing."""
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 30, "output_tokens": 1}}}
    late = {"type": "message_delta", "usage": {"output_tokens": 6}}
    body = sse(start, *tokens(count), late, done=False) + b'data: {"x": [{"usage": {"input_tokens": 99}}'
    assert read_usage(cut(body, "text/event-stream")) == Usage(30, 6, -1, -1, -1, -1, -1)


def test_a_cut_event_without_end():
    """Of an event longer than what is kept nothing is believed before its end has come."""
    body = (
        sse({"usage": OPENAI}, done=False)
        + b'data: {"x": ["'
        + b"x" * HEAD_BYTES
        + b'", {"usage": {"input_tokens": 99}}'
    )
    assert read_usage(cut(body, "text/event-stream")) == Usage(20, 5, -1, -1, -1, -1, -1)


def test_counts_written_as_floats():
    """Some servers write 7.0 tokens; wherever a count is such a number, it and all others are read."""
    floats = {
        **CACHED,
        "prompt_tokens": 20.0,
        "completion_tokens": 5.0,
        "prompt_tokens_details": {"cached_tokens": 8.0},
    }
    found = answer(usage=floats)
    assert found == Usage(20, 5, 8, -1, -1, -1, -1)
    assert all(isinstance(count, int) for count in (found.input_tokens, found.output_tokens, found.cache_tokens))
    assert answer(usage=OPENAI, timings={**TIMINGS, "predicted_n": 5.0, "cache_n": 7.0}) == LLAMA_CPP
    assert stream(*tokens(3), {"usage": {**OPENAI, "completion_tokens": 6.0}}).output_tokens == 6


def test_older_llama_cpp_tells_what_was_cached_in_usage():
    """Its ``timings`` lack ``cache_n`` then."""
    assert answer(usage=CACHED, timings={"prompt_n": 12, "predicted_n": 5}).cache_tokens == 8


@pytest.mark.parametrize("value", [True, "7", None, -3, 1e300, [], {}, 2**64])
def test_nonsense_is_not_counted(value):
    """Values that are no counts are unknown, not an exception and not a number that the store cannot hold."""
    found = answer(usage={"prompt_tokens": value, "completion_tokens": 4}, timings=None, metrics=value)
    assert found == Usage(0, 4, -1, -1, -1, -1, -1)
    assert answer(timings={"prompt_n": 1, "prompt_ms": value, "cache_n": value}).input_tokens == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*OPENAI, *RESPONSES, *TIMINGS, *METRICS, "usage", "response"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(json_values, st.sampled_from(["application/json", "text/event-stream"]), st.integers(0, 400))
def test_whatever_an_upstream_sends(value, content_type, length):
    """Nothing makes it raise, and every number can be stored."""
    body = b"data: " * (content_type != "application/json") + json.dumps(value).encode() + b"\n"
    sample = whole(body[:length], content_type)
    found = read_usage(sample)
    assert all(-1 <= getattr(found, name) <= 2**54 * 1000 for name in Usage.__struct_fields__)


@pytest.mark.parametrize("body", [b'{"x":' + b"[" * 20_000, b'{"usage":' + b"[" * 20_000, b"[" * 20_000])
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_brackets_without_end(body, content_type):
    """What is nested too deeply to be read tells nothing, and does not end the request in an error."""
    assert read_usage(whole(b"data: " * (content_type != "application/json") + body, content_type)) is NO_USAGE


def test_what_goes_to_another_thread():
    """Only compressed and long answers do."""
    assert is_quickly_read(whole(b"x" * 10_000))
    assert not is_quickly_read(whole(b"x" * 100_000))
    assert not is_quickly_read(whole(b"x", encoding="gzip"))
