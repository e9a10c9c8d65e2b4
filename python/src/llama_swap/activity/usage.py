"""Tokens and speeds, read from what an upstream answered (the styles of llama-swap v250, its activity rows).

llama.cpp's ``timings`` beat everybody's ``usage``: they count what was really computed. vLLM's ``metrics`` add speeds.
Speeds are never derived from our own clock: it contains queue, load and network.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from llama_swap.activity.fragments import Found, objects_at_end, objects_at_start
from llama_swap.activity.inflate import INFLATED_BYTES, inflate
from llama_swap.activity.sample import HEAD_BYTES, TAIL_BYTES, ResponseSample

UNKNOWN = -1
_START_BYTES = 16 * 1024
"""Usage at the beginning stands in the first event of a stream, or in front of a long list."""

_NAMES = frozenset({b'"usage"', b'"timings"', b'"metrics"'})
_CONTAINERS = frozenset({b'"response"', b'"message"'})
_MOST = 2**53
_NUMBERS = frozenset({int, float})


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
_ABSENT = msgspec.Raw()
_OBJECT = ord("{")


class _Envelope(msgspec.Struct):
    """The members of an answer or event that may hold usage; everything else is skipped unread."""

    usage: Any = None
    timings: Any = None
    metrics: Any = None
    response: msgspec.Raw = _ABSENT
    message: msgspec.Raw = _ABSENT


_decode = msgspec.json.Decoder(_Envelope).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Tally(msgspec.Struct):
    """What was found so far; in a stream the last positive value wins."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_tokens: int = UNKNOWN
    timings: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    anything: bool = False

    def add(self, usage: Any, timings: Any, metrics: Any) -> None:
        """Take the members of one answer or event; what is no object is ignored."""
        if isinstance(usage, dict):
            self._add_usage(usage)
        if isinstance(timings, dict):
            self.timings, self.anything = timings, True
        if isinstance(metrics, dict):
            self.metrics, self.anything = metrics, True

    def _add_usage(self, usage: dict[str, Any]) -> None:
        read = _first_count(usage, "prompt_tokens", "input_tokens")
        written = _first_count(usage, "completion_tokens", "output_tokens")
        cached = _cached(usage)
        self.input_tokens = read if read > 0 else self.input_tokens
        self.output_tokens = written if written > 0 else self.output_tokens
        self.cache_tokens = cached if cached >= 0 else self.cache_tokens
        self.anything |= max(read, written, cached) >= 0

    def usage(self) -> Usage:
        """The sum of it."""
        if not self.anything:
            return NO_USAGE
        work = _Work(self.input_tokens, self.output_tokens, self.cache_tokens)
        if self.timings is not None:
            work.take_timings(self.timings)
        if self.metrics is not None:
            work.take_metrics(self.metrics)
        return Usage(
            work.input_tokens,
            work.output_tokens,
            work.cache_tokens,
            work.draft_tokens,
            work.draft_acc_tokens,
            work.prompt_per_second,
            work.tokens_per_second,
            work.busy_ms,
        )


class _Work(msgspec.Struct):
    """A :class:`Usage` in the making."""

    input_tokens: int
    output_tokens: int
    cache_tokens: int
    draft_tokens: int = UNKNOWN
    draft_acc_tokens: int = UNKNOWN
    prompt_per_second: float = UNKNOWN
    tokens_per_second: float = UNKNOWN
    busy_ms: float = 0

    def take_timings(self, timings: dict[str, Any]) -> None:
        """llama.cpp's numbers replace what ``usage`` said."""
        get = timings.get
        self.input_tokens = max(0, _count(get("prompt_n")))
        self.output_tokens = max(0, _count(get("predicted_n")))
        self.prompt_per_second = _number(get("prompt_per_second"))
        self.tokens_per_second = _number(get("predicted_per_second"))
        self.busy_ms = max(0, _number(get("prompt_ms"))) + max(0, _number(get("predicted_ms")))
        cached = _count(get("cache_n"))
        if cached >= 0:
            self.cache_tokens = cached
        self._take_draft(get("draft_n"), get("draft_n_accepted"))

    def take_metrics(self, metrics: dict[str, Any]) -> None:
        """Take vLLM's speeds; the prompt's is that of the part which was not cached."""
        speculative = metrics.get("speculative_decoding")
        if isinstance(speculative, dict):
            self._take_draft(speculative.get("num_draft_tokens"), speculative.get("num_accepted_draft_tokens"))
        first_ms = _number(metrics.get("time_to_first_token_ms"))
        if first_ms > 0:
            computed = max(0, self.input_tokens - max(0, self.cache_tokens))
            self.prompt_per_second = computed * 1000 / first_ms
        each_ms = _number(metrics.get("mean_itl_ms"))
        if each_ms > 0:
            self.tokens_per_second = 1000 / each_ms

    def _take_draft(self, drafted: Any, accepted: Any) -> None:
        """Both or none: of one alone nothing can be said."""
        counts = _count(drafted), _count(accepted)
        if min(counts) >= 0:
            self.draft_tokens, self.draft_acc_tokens = counts


def read_usage(sample: ResponseSample) -> Usage:
    """The usage in an answer; :data:`NO_USAGE` for errors and for answers that tell none. Never raises."""
    if sample.status != 200 or not sample.head:  # noqa: PLR2004 - RFC 9110 §15.3.1
        return NO_USAGE
    text = _text_of(sample)
    tally = _Tally()
    if text is None:
        return NO_USAGE
    if "text/event-stream" in sample.content_type:
        _read_events(tally, text)
    else:
        _read_document(tally, text)
    return tally.usage()


def is_quickly_read(sample: ResponseSample) -> bool:
    """Whether :func:`read_usage` takes well under a millisecond, so that another thread is not worth its switch."""
    return not sample.content_encoding and len(sample.head) <= _START_BYTES + TAIL_BYTES


@dataclass(frozen=True, slots=True)
class _Text:
    """An answer without its content coding.

    Attributes:
        head: its beginning; all of it when ``whole``.
        end: its last bytes; "" where they cannot be known.
        complete: it came to its own end.
    """

    head: bytes
    end: bytes
    whole: bool
    complete: bool


def _text_of(sample: ResponseSample) -> _Text | None:
    head, tail, whole = sample.head, sample.tail, sample.is_whole
    if sample.content_encoding:
        inflated = inflate(head, sample.content_encoding)
        if inflated is None:
            return None
        # The tail of a body that was not kept whole cannot be unpacked.
        tail = inflated[-TAIL_BYTES:] if whole and len(inflated) < INFLATED_BYTES else b""
        head, whole = inflated[:HEAD_BYTES], whole and len(inflated) <= HEAD_BYTES
    elif whole:
        tail = head[-TAIL_BYTES:]
    return _Text(head, tail, whole, sample.complete)


def _read_document(tally: _Tally, text: _Text) -> None:
    """A JSON answer, or the ends of one."""
    if not (text.whole and _read_whole_document(tally, text.head)):
        _add_found(tally, objects_at_start(text.head[:_START_BYTES], _NAMES))
        if text.complete:
            _add_found(tally, objects_at_end(text.end, _NAMES, _CONTAINERS))


def _read_whole_document(tally: _Tally, text: bytes) -> bool:
    """False when it is not JSON to the end, as with the NaN that some servers write."""
    try:
        if text.lstrip()[:1] == b"[":
            # llama.cpp's /infill: the numbers are in the last element.
            elements = _decode_array(text)
            text = bytes(elements[-1]) if elements else b"{}"
        _add_envelope(tally, text)
    except msgspec.DecodeError:
        return False
    return True


def _read_events(tally: _Tally, text: _Text) -> None:
    """A stream of server-sent events: its first ones and its last ones."""
    if text.whole and len(text.head) <= _START_BYTES + TAIL_BYTES:
        _add_lines(tally, text.head)
        return
    _add_lines(tally, text.head[:_START_BYTES])
    # The first line of the end is an event without its beginning; a whole answer may stand in it (Responses API).
    cut, newline, lines = text.end.partition(b"\n")
    if newline:
        _add_found(tally, objects_at_end(cut, _NAMES, _CONTAINERS))
    _add_lines(tally, lines)


def _add_lines(tally: _Tally, text: bytes) -> None:
    for event in _events_of_interest(text):
        try:
            _add_envelope(tally, event)
        except msgspec.DecodeError:
            continue


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


def _add_envelope(tally: _Tally, text: bytes) -> None:
    envelope = _decode(text)
    tally.add(envelope.usage, envelope.timings, envelope.metrics)
    for nested in (envelope.response, envelope.message):
        if nested is not _ABSENT and memoryview(nested)[0] == _OBJECT:
            tally.add(_decode(nested).usage, None, None)


def _add_found(tally: _Tally, found: Found) -> None:
    values = {}
    for name, text in found.items():
        try:
            values[name] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            continue
    tally.add(values.get(b'"usage"'), values.get(b'"timings"'), values.get(b'"metrics"'))


def _cached(usage: dict[str, Any]) -> int:
    """Cached tokens as Anthropic, the Responses API or chat completions name them."""
    cached = _count(usage.get("cache_read_input_tokens"))
    for name in ("input_tokens_details", "prompt_tokens_details"):
        details = usage.get(name)
        if cached < 0 and isinstance(details, dict):
            cached = _count(details.get("cached_tokens"))
    return cached


def _first_count(values: dict[str, Any], name: str, other: str) -> int:
    return _count(values[name] if name in values else values.get(other))


def _count(value: Any) -> int:
    """A count, or -1 for anything that is none."""
    return int(value) if type(value) in _NUMBERS and 0 <= value <= _MOST else UNKNOWN


def _number(value: Any) -> float:
    """A measured value, or -1 for anything that is none."""
    return float(value) if type(value) in _NUMBERS and 0 <= value <= _MOST else UNKNOWN
