"""The two lines that tell what the service did: one for each request, one for each decision of the scheduler."""

from dataclasses import dataclass
from typing import Any, Final

from llama_swap.logs.text import quoted

# What probes and the status page ask for over and over; llama-swap leaves most of these out as well.
QUIET_PATHS: Final = frozenset({"/health", "/wol-health", "/metrics", "/api/performance", "/api/status"})
_REQUEST_LINE_LIMIT: Final = 1000
_USER_AGENT_LIMIT: Final = 300
_FIRST_SERVER_ERROR: Final = 500
_FIRST_CLIENT_ERROR: Final = 400

HUMAN: Final = "_human"
"""The key under which an event carries its own sentence for people; the other fields are for machines."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
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
    words = [
        "Request",
        record.client,
        quoted(line, _REQUEST_LINE_LIMIT),
        str(record.status),
        str(record.sent_bytes),
        quoted(record.user_agent, _USER_AGENT_LIMIT),
        f"total={record.total_ms:.0f}ms",
    ]
    if record.model is not None:
        words.append(f"model={record.model}")
        if record.requested not in (None, record.model):
            words.append(f"requested={record.requested}")
        for name, milliseconds in _waits(record):
            words.append(f"{name}={milliseconds:.0f}ms")
    if record.outcome != "ok":
        words.append(f"outcome={record.outcome}")
    return " ".join(words)


def log_request(logger: Any, record: RequestRecord) -> None:
    """Log a request: a warning if the server is to blame, not shown by default if it is a probe that went well.

    Args:
        logger: a structlog logger.
        record: what happened.
    """
    fields: dict[str, Any] = {
        "client": record.client,
        "method": record.method,
        "path": _without_query(record.path)[:_REQUEST_LINE_LIMIT],
        "http": record.http,
        "status": record.status,
        "bytes": record.sent_bytes,
        "user_agent": record.user_agent[:_USER_AGENT_LIMIT],
        "total_ms": round(record.total_ms, 1),
        "outcome": record.outcome,
    }
    if record.model is not None:
        fields["model"] = record.model
        fields["requested"] = record.requested or record.model
        names = {"queue": "queue_ms", "load": "load_ms", "first": "first_byte_ms"}
        fields |= {names[name]: round(milliseconds, 1) for name, milliseconds in _waits(record)}
    fields[HUMAN] = request_sentence(record)
    if record.status >= _FIRST_SERVER_ERROR:
        logger.warning("request", **fields)
    elif _without_query(record.path) in QUIET_PATHS and record.status < _FIRST_CLIENT_ERROR:
        logger.debug("request", **fields)
    else:
        logger.info("request", **fields)


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


def _waits(record: RequestRecord) -> list[tuple[str, float]]:
    named = (("queue", record.queue_ms), ("load", record.load_ms), ("first", record.first_byte_ms))
    return [(name, milliseconds) for name, milliseconds in named if milliseconds is not None]


def _without_query(path: str) -> str:
    return path.partition("?")[0]
