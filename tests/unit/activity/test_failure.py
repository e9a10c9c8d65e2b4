"""The message of a failed request."""

import gzip
import json

import pytest

from llama_swap.activity.failure import failure_message
from llama_swap.activity.sample import ResponseSample


def _message(status, body, encoding=""):
    return failure_message(ResponseSample("application/json", encoding, status, body, b"", len(body)))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"error": {"message": "a"}, "message": "b"}, "a"),
        ({"error": " text "}, "text"),
        ({"error": {"code": 3}, "message": "b"}, "b"),
        ({"error": "", "detail": "c"}, "c"),
        ({"detail": [{"msg": "d"}]}, "500 Internal Server Error"),
        (["x"], "500 Internal Server Error"),
    ],
)
def test_the_first_text_wins(answer, message):
    """error.message, error, message, detail; otherwise the status in words."""
    assert _message(500, json.dumps(answer).encode()) == message


def test_what_is_not_json():
    """Any status and body give a text, and a good answer none."""
    assert _message(502, b"<html>") == "502 Bad Gateway"
    assert _message(599, b"") == "HTTP 599"
    assert _message(500, b'{"error": "\xff"}') == "500 Internal Server Error"
    assert _message(500, b'{"error": ' + b"[" * 20_000) == "500 Internal Server Error"
    assert _message(200, b"x") == ""


def test_compressed_and_long_messages():
    """Error bodies may be compressed; a message is cut at 500 characters."""
    body = gzip.compress(json.dumps({"error": "e" * 600}).encode())
    assert _message(500, body, "gzip") == "e" * 500 + "..."
    assert _message(500, b"no gzip", "gzip") == "500 Internal Server Error"
