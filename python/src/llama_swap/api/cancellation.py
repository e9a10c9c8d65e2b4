"""Requests that an operator cancels while their client is still there: they end in an answer, not in silence."""

import asyncio

from aiohttp import web

from llama_swap.errors import Reason, RequestError

CANCELLED = RequestError(Reason.CANCELLED, "the request was cancelled on request of an operator")


def accept_cancellation(request: web.BaseRequest) -> None:
    """Let the handler go on to answer, after it was cancelled by us: by way of its connection's task, or directly."""
    for task in {asyncio.current_task(), request.task}:
        if task is not None:
            task.uncancel()
