"""A row and its JSON form."""

from llama_swap.activity.row import Outcome, Row, Spans, spans
from llama_swap.activity.usage import Usage


def test_json_has_llama_swaps_fields_and_ours():
    """Programs that read llama-swap's rows find every field under its name."""
    row = Row(
        id=7,
        timestamp=1_767_225_600.25,
        model="m",
        requested="alias",
        request_id="r-1",
        req_path="/v1/chat/completions",
        resp_content_type="application/json",
        resp_status_code=502,
        duration_ms=12,
        outcome=Outcome.UPSTREAM_DIED,
        tokens=Usage(1, 2, 3, 4, 5, 6.5, 7.5, 8),
        error_msg="gone",
        metadata={"selector": "s"},
        spans=Spans(1, 2, 3, 4),
    )
    assert row.to_json(has_capture=True) == {
        "id": 7,
        "timestamp": "2026-01-01T00:00:00.250Z",
        "model": "m",
        "req_path": "/v1/chat/completions",
        "resp_content_type": "application/json",
        "resp_status_code": 502,
        "tokens": {
            "input_tokens": 1,
            "output_tokens": 2,
            "cache_tokens": 3,
            "draft_tokens": 4,
            "draft_acc_tokens": 5,
            "prompt_per_second": 6.5,
            "tokens_per_second": 7.5,
        },
        "duration_ms": 12,
        "has_capture": True,
        "error_msg": "gone",
        "metadata": {"selector": "s"},
        "queue_ms": 1,
        "load_ms": 2,
        "first_token_ms": 3,
        "generation_ms": 4,
        "outcome": "upstream_died",
        "requested_model": "alias",
        "request_id": "r-1",
    }


def test_nothing_failed():
    """Empty messages and metadata are left out, as llama-swap does."""
    row = Row(timestamp=0, model="m", req_path="/", resp_status_code=200, duration_ms=1, outcome=Outcome.OK).to_json()
    assert "error_msg" not in row
    assert "metadata" not in row
    assert row["has_capture"] is False


def test_spans_add_up():
    """Queue, load, first token and generation are the parts of the whole."""
    found = spans(queue_seconds=1, load_seconds=2, granted_at=13, first_byte_at=13.5, finished_at=15)
    assert found == Spans(1000, 2000, 500, 1500)


def test_spans_that_were_never_reached():
    """A part that a request did not come to is -1, not 0."""
    died = spans(queue_seconds=1, load_seconds=0, granted_at=13, first_byte_at=None, finished_at=15)
    assert died == Spans(1000, 0, -1, -1)
    cut = spans(queue_seconds=0, load_seconds=0, granted_at=13, first_byte_at=13.5, finished_at=None)
    assert cut == Spans(0, 0, 500, -1)
