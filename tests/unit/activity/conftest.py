"""Rows and stores for the tests of the activity."""

import pytest

from llama_swap.activity.row import Outcome, Row


@pytest.fixture
def make_row():
    """``make_row(model="m", ...)`` is a row with the given fields."""

    def make(**fields):
        defaults = {
            "timestamp": 1_767_225_600.25,
            "model": "m",
            "req_path": "/v1/chat/completions",
            "resp_status_code": 200,
            "duration_ms": 5,
            "outcome": Outcome.OK,
        }
        return Row(**{**defaults, **fields})

    return make
