"""Error events in the form that each route's clients raise an error for."""

import json

import pytest

from llama_swap.proxy.error_events import error_event


def test_openai_clients_look_for_an_error_in_the_data():
    """One data line with the error object, and the blank line that ends an event."""
    event = error_event("/v1/chat/completions", message="gone", error_type="server_error", code="upstream_died")
    assert event.endswith(b"\n\n")
    data = json.loads(event.removeprefix(b"data: "))
    assert data["error"] == {"message": "gone", "type": "server_error", "param": None, "code": "upstream_died"}


@pytest.mark.parametrize("path", ["/v1/messages", "/upstream/m/v1/messages"])
def test_anthropic_clients_look_for_an_event_called_error(path):
    """Without the name their SDK skips the event and takes the end for a clean one."""
    name, data = error_event(path, message="gone").decode().strip().split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["message"] == "gone"
