"""The two lines that tell what the service did: one for each request, one for each decision of the scheduler."""

import logging
from functools import lru_cache
from typing import Any, Final

import msgspec

from llama_swap.logs.text import escaped, quoted

# What probes and the status page ask for over and over; llama-swap leaves most of these out as well.
QUIET_PATHS: Final = frozenset({"/health", "/wol-health", "/metrics", "/api/performance", "/api/status"})
_REQUEST_LINE_LIMIT: Final = 1000
_USER_AGENT_LIMIT: Final = 300
_FIRST_SERVER_ERROR: Final = 500
_FIRST_CLIENT_ERROR: Final = 400

# Clients send the same few words over and over. What is given to these is short.
_quoted = lru_cache(maxsize=256)(quoted)
_word = lru_cache(maxsize=256)(escaped)

HUMAN: Final = "_human"
"""The key under which an event carries its own sentence for people; the other fields are for machines."""


class RequestRecord(msgspec.Struct, frozen=True, gc=False):
    """What is said about one request once it is over.

    Times are in milliseconds, and None where it never came to that.

    Attributes:
        client: the address it came from.
        path: as sent; whatever follows a ``?`` is not logged, it can carry secrets.
        http: the version, ``1.1``.
        sent_bytes: of the answer's body.
        model: the ID of the model that served it, None if no model was involved.
        requested: the name that the client used, if that is not the ID.
        queue_ms: from arrival to the lease, without the load of the model.
        load_ms: how long it waited for the model to start.
        first_byte_ms: from arrival to the first byte of the answer.
        outcome: how it ended, ``ok`` or what went wrong.
    """

    client: str
    method: str
    path: str
    http: str
    status: int
    sent_bytes: int
    user_agent: str
    total_ms: float
    model: str | None = None
    requested: str | None = None
    queue_ms: float | None = None
    load_ms: float | None = None
    first_byte_ms: float | None = None
    outcome: str = "ok"


def request_sentence(record: RequestRecord) -> str:
    """The line of a request as people read it, shaped like llama-swap's."""
    line = f"{record.method} {_without_query(record.path)} HTTP/{record.http}"
    # One more than is shown, so that `quoted` sees that something was cut.
    request = _quoted(line[: _REQUEST_LINE_LIMIT + 1], _REQUEST_LINE_LIMIT)
    agent = _quoted(record.user_agent[: _USER_AGENT_LIMIT + 1], _USER_AGENT_LIMIT)
    said = (
        f"Request {record.client} {request} {record.status} {record.sent_bytes} {agent} total={record.total_ms:.0f}ms"
    )
    if record.model is not None:
        said += f" model={_word(record.model)}"
        if record.requested is not None and record.requested != record.model:
            said += f" requested={_word(record.requested)}"
        if record.queue_ms is not None:
            said += f" queue={record.queue_ms:.0f}ms"
        if record.load_ms is not None:
            said += f" load={record.load_ms:.0f}ms"
        if record.first_byte_ms is not None:
            said += f" first={record.first_byte_ms:.0f}ms"
    if record.outcome != "ok":
        said += f" outcome={record.outcome}"
    return said


def level_of(record: RequestRecord) -> int:
    """A warning if the server is to blame, not shown by default if it is a probe that went well."""
    if record.status >= _FIRST_SERVER_ERROR:
        return logging.WARNING
    if record.status < _FIRST_CLIENT_ERROR and _without_query(record.path) in QUIET_PATHS:
        return logging.DEBUG
    return logging.INFO


def shown_path(record: RequestRecord) -> str:
    """The path without its query, cut to a length that cannot fill the log."""
    return _without_query(record.path)[:_REQUEST_LINE_LIMIT]


def shown_agent(record: RequestRecord) -> str:
    """What the client calls itself, cut as well."""
    return record.user_agent[:_USER_AGENT_LIMIT]


def request_fields(record: RequestRecord) -> dict[str, str | int | float]:
    """The line of a request as machines read it."""
    fields: dict[str, str | int | float] = {
        "client": record.client,
        "method": record.method,
        "path": shown_path(record),
        "http": record.http,
        "status": record.status,
        "bytes": record.sent_bytes,
        "user_agent": shown_agent(record),
        "total_ms": round(record.total_ms, 1),
        "outcome": record.outcome,
    }
    if record.model is not None:
        fields["model"] = record.model
        fields["requested"] = record.requested or record.model
        if record.queue_ms is not None:
            fields["queue_ms"] = round(record.queue_ms, 1)
        if record.load_ms is not None:
            fields["load_ms"] = round(record.load_ms, 1)
        if record.first_byte_ms is not None:
            fields["first_byte_ms"] = round(record.first_byte_ms, 1)
    return fields


def log_decision(  # noqa: PLR0913 - one keyword for each field of the line
    logger: Any,
    action: str,
    *,
    model: str,
    because: str,
    instance_id: int | None = None,
    request_id: int | None = None,
    routine: bool = False,
) -> None:
    """Log one decision of the scheduler that is about to be carried out.

    Args:
        logger: a structlog logger.
        action: the imperative, ``start``, ``stop``, ``kill``, ``grant``, ``reject``.
        model: which model it is about.
        because: the scheduler's reason.
        instance_id: the run of the model's process, where there is one.
        request_id: the request, where the decision is about one.
        routine: it happens for every request (a grant) and is told by the request's own line: only shown for debugging.
    """
    fields: dict[str, Any] = {"action": action, "model": model}
    about: list[str] = []
    if instance_id is not None:
        fields["instance"] = instance_id
        about.append(f"instance {instance_id}")
    if request_id is not None:
        fields["request"] = request_id
        about.append(f"request {request_id}")
    fields["because"] = because
    named = f"{model} ({', '.join(about)})" if about else model
    fields[HUMAN] = f"{action.capitalize()} {named}: {because}"
    (logger.debug if routine else logger.info)("decision", **fields)


def _without_query(path: str) -> str:
    return path.partition("?")[0]
