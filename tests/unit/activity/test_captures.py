"""Captures: what is in one, and how many fit."""

import base64
import gzip
import os
from dataclasses import replace

import pytest

from llama_swap.activity.captures import Captures, Exchanged

JSON = (("Content-Type", "application/json"),)
CHAT = Exchanged(
    req_path="/v1/chat/completions",
    req_headers=(*JSON, ("Authorization", "Bearer sk-1"), ("X-Visible", "yes"), ("X-Copy", "sk-1")),
    req_body=b'{"model":"m"}',
    status=200,
    resp_headers=((b"content-type", b"application/json"), (b"set-cookie", b"c")),
    resp_body=b'{"answer":42}',
)


def _b64(data):
    return base64.b64encode(data).decode()


def _captured(exchanged, secrets=()):
    captures = Captures(1_000_000, lambda: secrets)
    captures.put(7, exchanged)
    return captures.get(7)


def test_json_form():
    """llama-swap's form, bodies in base64, secrets hidden."""
    assert _captured(CHAT, ("sk-1",)) == {
        "id": 7,
        "req_path": "/v1/chat/completions",
        "req_headers": {
            "Content-Type": "application/json",
            "Authorization": "[REDACTED]",
            "X-Visible": "yes",
            "X-Copy": "[REDACTED]",
        },
        "req_body": _b64(b'{"model":"m"}'),
        "resp_headers": {"content-type": "application/json", "set-cookie": "[REDACTED]"},
        "resp_body": _b64(b'{"answer":42}'),
    }


def test_a_failure_keeps_the_request_only():
    """Its message is in the row."""
    found = _captured(replace(CHAT, status=500))
    assert found["req_body"] is not None
    assert found["resp_body"] is None


def test_compressed_answers_are_shown_plain():
    """The content coding is taken off."""
    packed = replace(CHAT, resp_body=gzip.compress(b"text"), resp_headers=((b"content-encoding", b"gzip"),))
    assert _captured(packed)["resp_body"] == _b64(b"text")


def test_a_cut_answer_says_so():
    """Only what was kept of a long answer is there."""
    assert _captured(replace(CHAT, resp_cut=True))["resp_truncated"] is True
    assert "resp_truncated" not in _captured(CHAT)


@pytest.mark.parametrize(
    ("path", "request_kept", "answer_kept"),
    [
        ("/v1/audio/speech", True, False),
        ("/v1/audio/voices", False, True),
        ("/v1/audio/transcriptions", False, True),
        ("/v1/images/generations", True, False),
        ("/v1/images/edits", False, False),
        ("/sdapi/v1/txt2img", True, False),
        ("/sdapi/v1/img2img", False, False),
        ("/v1/completions", True, True),
    ],
)
def test_audio_and_images_are_left_out(path, request_kept, answer_kept):
    """By route, as in llama-swap."""
    found = _captured(replace(CHAT, req_path=path))
    assert (found["req_body"] is not None, found["resp_body"] is not None) == (request_kept, answer_kept)


def test_binary_bodies_are_left_out_on_any_route():
    """By content type, on both sides."""
    found = _captured(
        replace(
            CHAT,
            req_headers=((b"Content-Type", b"multipart/form-data; boundary=x"),),
            resp_headers=(("content-type", "Audio/mpeg"),),
        )
    )
    assert (found["req_body"], found["resp_body"]) == (None, None)


def test_the_oldest_go_first():
    """The buffer is bounded by what is kept, and a single giant does not empty it."""
    captures = Captures(20_000)
    for row_id in range(1, 6):
        captures.put(row_id, replace(CHAT, req_body=os.urandom(6000)))
    assert [row_id for row_id in range(1, 6) if row_id in captures] == [3, 4, 5]
    captures.put(6, replace(CHAT, req_body=os.urandom(30_000)))
    assert 6 not in captures
    assert captures.get(3) is not None
    assert 18_000 < captures.held_bytes <= 20_000


def test_off_and_smaller():
    """Nothing is kept without a buffer; a smaller one takes effect at once."""
    captures = Captures(0)
    captures.put(1, CHAT)
    assert captures.get(1) is None
    captures.resize(1_000_000)
    captures.put(1, CHAT)
    captures.put(1, CHAT)
    assert 1 in captures
    captures.resize(0)
    assert (1 in captures, captures.held_bytes) == (False, 0)


def test_keys_are_taken_out_of_bodies():
    """Of the request and of the answer, also of a compressed one."""
    found = _captured(
        replace(
            CHAT,
            req_body=b'{"key":"sk-secret"}',
            resp_body=gzip.compress(b"you sent sk-secret"),
            resp_headers=((b"content-encoding", b"gzip"),),
        ),
        ("sk-secret",),
    )
    assert (found["req_body"], found["resp_body"]) == (_b64(b'{"key":"[REDACTED]"}'), _b64(b"you sent [REDACTED]"))


def test_a_body_that_was_not_held_is_not_an_empty_one():
    """It is left out."""
    assert _captured(replace(CHAT, req_body=None))["req_body"] is None
    assert _captured(replace(CHAT, req_body=b""))["req_body"] == ""
