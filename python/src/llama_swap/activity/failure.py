"""What an upstream says about a request that it did not answer with 200."""

from http import HTTPStatus
from typing import Any

import msgspec

from llama_swap.activity.inflate import inflate
from llama_swap.activity.sample import ResponseSample

_MOST_CHARACTERS = 500
_INFLATED_BYTES = 64 * 1024


def failure_message(sample: ResponseSample) -> str:
    """The message in an error answer, or the status in words; "" for 200.

    The first of ``error.message``, ``error``, ``message`` and ``detail`` that is text, at most 500 characters, as in
    llama-swap v250.
    """
    if sample.status == HTTPStatus.OK:
        return ""
    text = inflate(sample.head, sample.content_encoding, limit_bytes=_INFLATED_BYTES)
    message = _message_in(text) if text is not None else ""
    if not message:
        return status_text(sample.status)
    return message if len(message) <= _MOST_CHARACTERS else f"{message[:_MOST_CHARACTERS]}..."


def status_text(status: int) -> str:
    """``502 Bad Gateway``; a status without a name is ``HTTP 599``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _message_in(text: bytes) -> str:
    try:
        answer = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if not isinstance(answer, dict):
        return ""
    error = answer.get("error")
    candidates: list[Any] = [
        error.get("message") if isinstance(error, dict) else None,
        error,
        answer.get("message"),
        answer.get("detail"),
    ]
    return next((text.strip() for text in candidates if isinstance(text, str) and text.strip()), "")
