"""Tokens and speeds, read from what an upstream answered (the styles of llama-swap v250, its activity rows).

llama.cpp's ``timings`` beat everybody's ``usage``: they count what was really computed. vLLM's ``metrics`` add speeds.
Speeds are never derived from our own clock: it contains queue, load and network.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar, get_args

import msgspec
from msgspec.structs import replace

from llama_swap.activity.fragments import Found, objects_at_end, objects_at_start
from llama_swap.activity.inflate import INFLATED_BYTES, inflate
from llama_swap.activity.sample import HEAD_BYTES, TAIL_BYTES, ResponseSample

UNKNOWN = -1
_START_BYTES = 16 * 1024
"""Usage at the beginning stands in the first event of a stream, or in front of a long list."""

_NAMES = frozenset({b'"usage"', b'"timings"', b'"metrics"'})
_CONTAINERS = frozenset({b'"response"', b'"message"'})
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_Object = TypeVar("_Object", bound=msgspec.Struct)


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What an answer says about the work behind it; zeros where it says nothing.

    Attributes:
        input_tokens: of the prompt; with llama.cpp those that were not cached.
        cache_tokens, draft_tokens, draft_acc_tokens: -1 where unknown.
        prompt_per_second, tokens_per_second: tokens per second; -1 where unknown.
        busy_ms: how long the upstream says it worked; 0 where unknown.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_tokens: int = 0
    draft_tokens: int = 0
    draft_acc_tokens: int = 0
    prompt_per_second: float = 0
    tokens_per_second: float = 0
    busy_ms: float = 0


NO_USAGE = Usage()

_MOST = 2**53
# What servers write as a count; those that write 7.0 take the long way through :func:`_fitting`.
_Count = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
_Amount = Annotated[float, msgspec.Meta(ge=0, le=_MOST)]


class _CachedTokens(msgspec.Struct):
    cached_tokens: _Count = UNKNOWN


class _UsageMember(msgspec.Struct):
    """``usage`` as chat completions, the Responses API or Anthropic have it."""

    prompt_tokens: _Count = UNKNOWN
    completion_tokens: _Count = UNKNOWN
    input_tokens: _Count = UNKNOWN
    output_tokens: _Count = UNKNOWN
    cache_read_input_tokens: _Count = UNKNOWN
    input_tokens_details: _CachedTokens | None = None
    prompt_tokens_details: _CachedTokens | None = None

    def cached(self) -> int:
        """Cached tokens, wherever they stand."""
        details = self.input_tokens_details or self.prompt_tokens_details
        if details is None or self.cache_read_input_tokens >= 0:
            return self.cache_read_input_tokens
        return details.cached_tokens


class _Timings(msgspec.Struct):
    """llama.cpp's ``timings``; without any ``draft_n`` nothing was drafted."""

    prompt_n: _Count = 0
    predicted_n: _Count = 0
    cache_n: _Count = UNKNOWN
    draft_n: _Count = UNKNOWN
    draft_n_accepted: _Count = UNKNOWN
    prompt_ms: _Amount = 0
    predicted_ms: _Amount = 0
    prompt_per_second: _Amount = UNKNOWN
    predicted_per_second: _Amount = UNKNOWN


class _Speculation(msgspec.Struct):
    num_draft_tokens: _Count = UNKNOWN
    num_accepted_draft_tokens: _Count = UNKNOWN


class _Metrics(msgspec.Struct):
    """vLLM's ``metrics``."""

    time_to_first_token_ms: _Amount = 0
    mean_itl_ms: _Amount = 0
    speculative_decoding: _Speculation | None = None


class _Nested(msgspec.Struct):
    usage: _UsageMember | None = None


class _Envelope(msgspec.Struct):
    """The members of an answer or event that may hold usage; everything else is skipped unread."""

    usage: _UsageMember | None = None
    timings: _Timings | None = None
    metrics: _Metrics | None = None
    response: _Nested | None = None
    message: _Nested | None = None


_decode = msgspec.json.Decoder(_Envelope).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def _envelope(text: bytes) -> _Envelope:
    """Raises msgspec.DecodeError for what is not JSON; members that are not what they should be are left out."""
    try:
        return _decode(text)
    except msgspec.ValidationError:
        return _fitting(msgspec.json.decode(text), _Envelope)


def _fitting(value: Any, kind: type[_Object]) -> _Object:
    """As much of a value as is of its kind."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind) if isinstance(value, dict) else ():
        member, inner = value.get(field.name), get_args(field.type)[0]
        if isinstance(member, dict) and issubclass(inner, msgspec.Struct):
            found[field.name] = _fitting(member, inner)
            continue
        if inner is int and isinstance(member, float) and 0 <= member <= _MOST:
            member = int(member)
        with contextlib.suppress(msgspec.ValidationError):
            found[field.name] = msgspec.convert(member, field.type)
    return kind(**found)


def _sum(found: Sequence[_Envelope]) -> Usage:
    """What an answer or the events of a stream say together; llama.cpp's numbers replace what ``usage`` said."""
    timings = metrics = None
    for envelope in found:
        timings, metrics = envelope.timings or timings, envelope.metrics or metrics
    if timings is not None:
        usage = _computed(timings, found)
    else:
        counts = _counts(found)
        if metrics is None and max(counts) < 0:
            return NO_USAGE
        read, written, cached = counts
        usage = Usage(max(0, read), max(0, written), cached, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    return usage if metrics is None else _with_speeds(usage, metrics)


def _counts(found: Sequence[_Envelope]) -> tuple[int, int, int]:
    """Tokens read, written and cached; -1 for what nobody told. In a stream the last positive value wins."""
    read = written = cached = UNKNOWN
    for envelope in found:
        nested = envelope.response or envelope.message
        for usage in (envelope.usage, nested.usage if nested is not None else None):
            if usage is None:
                continue
            now_read = usage.prompt_tokens if usage.prompt_tokens >= 0 else usage.input_tokens
            now_written = usage.completion_tokens if usage.completion_tokens >= 0 else usage.output_tokens
            now_cached = usage.cached()
            read = now_read if now_read > 0 or read < 0 else read
            written = now_written if now_written > 0 or written < 0 else written
            cached = now_cached if now_cached >= 0 else cached
    return read, written, cached


def _computed(timings: _Timings, found: Sequence[_Envelope]) -> Usage:
    """What llama.cpp says; its older versions tell only in ``usage`` what was cached."""
    drafted, accepted = timings.draft_n, timings.draft_n_accepted
    if drafted >= 0 or accepted >= 0:
        drafted, accepted = _drafts(drafted, accepted)
    return Usage(
        timings.prompt_n,
        timings.predicted_n,
        timings.cache_n if timings.cache_n >= 0 else _counts(found)[2],
        drafted,
        accepted,
        timings.prompt_per_second,
        timings.predicted_per_second,
        timings.prompt_ms + timings.predicted_ms,
    )


def _with_speeds(usage: Usage, metrics: _Metrics) -> Usage:
    """With vLLM's speeds; the prompt's is that of the part which was not cached."""
    changes: dict[str, float] = {}
    if (work := metrics.speculative_decoding) is not None:
        drafted, accepted = _drafts(work.num_draft_tokens, work.num_accepted_draft_tokens)
        changes |= {"draft_tokens": drafted, "draft_acc_tokens": accepted} if drafted >= 0 else {}
    if metrics.time_to_first_token_ms > 0:
        computed = max(0, usage.input_tokens - max(0, usage.cache_tokens))
        changes["prompt_per_second"] = computed * 1000 / metrics.time_to_first_token_ms
    if metrics.mean_itl_ms > 0:
        changes["tokens_per_second"] = 1000 / metrics.mean_itl_ms
    return replace(usage, **changes)


def _drafts(drafted: int, accepted: int) -> tuple[int, int]:
    """Both or none: of one alone nothing can be said."""
    return (drafted, accepted) if drafted >= 0 and accepted >= 0 else (UNKNOWN, UNKNOWN)


def read_usage(sample: ResponseSample) -> Usage:
    """The usage in an answer; :data:`NO_USAGE` for errors and for answers that tell none. Never raises."""
    if sample.status != 200 or not sample.head:  # noqa: PLR2004 - RFC 9110 §15.3.1
        return NO_USAGE
    if sample.content_encoding:
        unpacked = _unpacked(sample)
        if unpacked is None:
            return NO_USAGE
        sample = unpacked
    return _sum(_events(sample) if "text/event-stream" in sample.content_type else _document(sample))


def is_quickly_read(sample: ResponseSample) -> bool:
    """Whether :func:`read_usage` takes well under a millisecond, so that another thread is not worth its switch."""
    return not sample.content_encoding and len(sample.head) <= _START_BYTES + TAIL_BYTES


def _unpacked(sample: ResponseSample) -> ResponseSample | None:
    """As much as can be had of an answer without its content coding; None where nothing can."""
    text = inflate(sample.head, sample.content_encoding)
    if text is None:
        return None
    # The tail of a body that was not kept whole cannot be unpacked.
    is_known_to_its_end = sample.is_whole and len(text) < INFLATED_BYTES
    return replace(
        sample,
        content_encoding="",
        head=text[:HEAD_BYTES],
        tail=text[-TAIL_BYTES:] if is_known_to_its_end else b"",
        total_bytes=len(text) if sample.is_whole else len(text) + 1,
    )


def _document(sample: ResponseSample) -> Sequence[_Envelope]:
    """A JSON answer, or the ends of one."""
    if sample.is_whole and (envelope := _whole_document(sample.head)) is not None:
        return (envelope,)
    found = _found(objects_at_start(sample.head[:_START_BYTES], _NAMES))
    if sample.complete:
        found += _found(objects_at_end(_end_of(sample), _NAMES, _CONTAINERS))
    return found


def _end_of(sample: ResponseSample) -> bytes:
    """The last bytes of an answer that is not compressed; b"" where they cannot be known."""
    return sample.head[-TAIL_BYTES:] if sample.is_whole else sample.tail


def _whole_document(text: bytes) -> _Envelope | None:
    """None when it is not JSON to the end, as with the NaN that some servers write."""
    try:
        if text.lstrip()[:1] == b"[":
            # llama.cpp's /infill: the numbers are in the last element.
            elements = _decode_array(text)
            text = bytes(elements[-1]) if elements else b"{}"
        return _envelope(text)
    except _NOT_JSON:
        return None


def _events(sample: ResponseSample) -> Sequence[_Envelope]:
    """A stream of server-sent events: its first ones and its last ones."""
    if sample.is_whole and len(sample.head) <= _START_BYTES + TAIL_BYTES:
        return _lines(sample.head)
    found = _lines(sample.head[:_START_BYTES])
    # The first line of the end is an event without its beginning; a whole answer may stand in it (Responses API).
    cut, newline, lines = _end_of(sample).partition(b"\n")
    if newline:
        found += _found(objects_at_end(cut, _NAMES, _CONTAINERS))
    return found + _lines(lines)


def _lines(text: bytes) -> list[_Envelope]:
    found = []
    for event in _events_of_interest(text):
        with contextlib.suppress(*_NOT_JSON):
            found.append(_envelope(event))
    return found


def _events_of_interest(text: bytes) -> Iterator[bytes]:
    """The data of those events that may tell usage, in order: most only carry text and are not worth decoding."""
    starts: dict[int, int] = {}
    for name in _NAMES:
        at = text.find(name)
        while at >= 0:
            end = text.find(b"\n", at)
            starts[text.rfind(b"\n", 0, at) + 1] = end = end if end >= 0 else len(text)
            at = text.find(name, end)
    for start in sorted(starts):
        if text.startswith(b"data:", start):
            yield text[start + 5 : starts[start]]


def _found(objects: Found) -> list[_Envelope]:
    found = []
    for name, text in objects.items():
        with contextlib.suppress(*_NOT_JSON):
            found.append(_envelope(b"{%b:%b}" % (name, text)))
    return found
