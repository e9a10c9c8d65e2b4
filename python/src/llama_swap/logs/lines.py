"""The line that tells a decision of the scheduler."""

from typing import Any, Final

HUMAN: Final = "_human"
"""The key under which an event carries its own sentence for people; the other fields are for machines."""


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
