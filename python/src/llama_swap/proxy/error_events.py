"""The server-sent event that ends a stream which failed, in the form that the route's clients raise an error for."""

import msgspec

_ANTHROPIC_ROUTE = "/v1/messages"


def error_event(path: str, *, message: str, error_type: str = "server_error", code: object = None) -> bytes:
    """One whole event.

    Args:
        path: of the request; below ``/upstream/MODEL`` it still ends in the route's.
        message: what went wrong.
        error_type: OpenAI's word for it.
        code: OpenAI's code, a word or a status.
    """
    if _ANTHROPIC_ROUTE in path:
        body: object = {"type": "error", "error": {"type": "api_error", "message": message}}
        return b"event: error\ndata: " + msgspec.json.encode(body) + b"\n\n"
    error = {"message": message, "type": error_type, "param": None, "code": code}
    return b"data: " + msgspec.json.encode({"error": error}) + b"\n\n"
