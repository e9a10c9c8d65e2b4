"""The reasons a request can end in an error, and the exception that carries one to the HTTP layer.

The table from reason to HTTP status lives in :mod:`llama_swap.api.errors`; nothing below it knows HTTP statuses.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a request is answered with an error; one row of the table of errors each."""

    INVALID_REQUEST = "invalid_request"
    INVALID_JSON = "invalid_json"
    MODEL_MISSING = "model_missing"
    MODEL_UNKNOWN = "model_unknown"
    BODY_TOO_LARGE = "body_too_large"
    UNAUTHORIZED = "unauthorized"
    CROSS_SITE = "cross_site"
    HOST_UNKNOWN = "host_unknown"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_LOADED = "not_loaded"
    CONCURRENCY_LIMIT = "concurrency_limit"
    QUEUE_FULL = "queue_full"
    QUEUE_TIMEOUT = "queue_timeout"
    START_FAILED = "start_failed"
    BACKING_OFF = "backing_off"
    UNLOADED = "unloaded"
    CANCELLED = "cancelled"
    SHUTTING_DOWN = "shutting_down"
    DOES_NOT_FIT = "does_not_fit"
    MEMORY_UNKNOWN = "memory_unknown"
    PINNED = "pinned"
    YIELDED = "yielded"
    OUT_OF_MEMORY = "out_of_memory"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    INTERNAL = "internal"


class RequestError(Exception):
    """A request that ends in an error answer.

    Attributes:
        reason: the row of the table of errors.
        message: what happened, to which model, and what to do; shown to the client.
        retry_after_seconds: when trying again may help, else None.
    """

    def __init__(self, reason: Reason, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after_seconds = retry_after_seconds

    def without_traceback(self) -> "RequestError":
        """The same error to be kept: the tracebacks of the raised one hold every frame it passed, bodies included."""
        return RequestError(self.reason, self.message, retry_after_seconds=self.retry_after_seconds)
