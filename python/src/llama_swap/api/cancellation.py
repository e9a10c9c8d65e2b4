"""Requests that an operator cancels while their client is still there: they end in an answer, not in silence."""

import asyncio

from llama_swap.errors import Reason, RequestError

CANCELLED = RequestError(Reason.CANCELLED, "the request was cancelled on request of an operator")


def accept_cancellation() -> None:
    """Let the handler's task go on to answer, after it was cancelled by us."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
