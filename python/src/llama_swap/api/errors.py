"""The one table of errors: reason -> HTTP status, OpenAI error type and code, and whether a client should retry.

Statuses, types and codes are llama-swap's where it has the case (v250, its error envelope); ``x-should-retry`` is read
by the OpenAI SDKs, which otherwise repeat every 409, 429 and 5xx.
"""

import html
import json
import math
from dataclasses import dataclass

from aiohttp import web

from llama_swap.errors import Reason, RequestError


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """How one reason is answered.

    Attributes:
        retry: the value of ``x-should-retry``; None leaves the decision to the client.
    """

    status: int
    error_type: str
    code: str
    retry: bool | None = None


_INVALID = "invalid_request_error"
_SERVER = "server_error"

TABLE: dict[Reason, ErrorRow] = {
    Reason.INVALID_REQUEST: ErrorRow(400, _INVALID, "bad_request"),
    Reason.INVALID_JSON: ErrorRow(400, _INVALID, "bad_request"),
    Reason.MODEL_MISSING: ErrorRow(404, _INVALID, "not_found"),
    Reason.MODEL_UNKNOWN: ErrorRow(404, _INVALID, "not_found"),
    Reason.NOT_FOUND: ErrorRow(404, _INVALID, "not_found"),
    Reason.METHOD_NOT_ALLOWED: ErrorRow(405, _INVALID, "method_not_allowed"),
    Reason.BODY_TOO_LARGE: ErrorRow(413, _INVALID, "request_too_large"),
    Reason.UNAUTHORIZED: ErrorRow(401, "authentication_error", "unauthorized"),
    Reason.CROSS_SITE: ErrorRow(403, "authentication_error", "forbidden"),
    Reason.HOST_UNKNOWN: ErrorRow(403, "authentication_error", "forbidden"),
    Reason.NOT_LOADED: ErrorRow(409, _INVALID, "conflict", retry=False),
    Reason.CONCURRENCY_LIMIT: ErrorRow(429, "rate_limit_error", "concurrency_limit"),
    Reason.QUEUE_FULL: ErrorRow(429, "rate_limit_error", "queue_full"),
    Reason.QUEUE_TIMEOUT: ErrorRow(503, _SERVER, "service_unavailable"),
    Reason.START_FAILED: ErrorRow(500, _SERVER, "model_start_failed", retry=False),
    Reason.BACKING_OFF: ErrorRow(503, _SERVER, "service_unavailable"),
    Reason.UNLOADED: ErrorRow(500, _SERVER, "model_unloaded", retry=False),
    Reason.CANCELLED: ErrorRow(503, _SERVER, "request_cancelled", retry=False),
    Reason.SHUTTING_DOWN: ErrorRow(503, _SERVER, "service_unavailable"),
    Reason.DOES_NOT_FIT: ErrorRow(507, _SERVER, "insufficient_memory", retry=False),
    Reason.MEMORY_UNKNOWN: ErrorRow(503, _SERVER, "memory_unknown"),
    Reason.PINNED: ErrorRow(409, _SERVER, "models_pinned", retry=False),
    Reason.YIELDED: ErrorRow(503, _SERVER, "devices_yielded", retry=False),
    Reason.OUT_OF_MEMORY: ErrorRow(507, _SERVER, "out_of_memory", retry=False),
    Reason.UPSTREAM_FAILED: ErrorRow(502, _SERVER, "bad_gateway"),
    Reason.UPSTREAM_TIMEOUT: ErrorRow(504, _SERVER, "gateway_timeout"),
    Reason.INTERNAL: ErrorRow(500, _SERVER, "internal_error", retry=False),
}


def error_body(error: RequestError) -> bytes:
    """The OpenAI error envelope with llama-swap's ``src`` mark."""
    row = TABLE[error.reason]
    details = {"message": error.message, "type": row.error_type, "param": None, "code": row.code}
    return json.dumps({"src": "llama-swap", "error": details}, ensure_ascii=False).encode("utf-8", "backslashreplace")


def error_response(error: RequestError, *, accept: str = "") -> web.Response:
    """The answer to a request that ends in an error, in the form that ``Accept`` asks for."""
    row = TABLE[error.reason]
    if "text/plain" in accept:
        text = f"llama-swap: {error.message}\n".encode("utf-8", "backslashreplace").decode()
        response = web.Response(status=row.status, text=text)
    elif "text/html" in accept:
        response = web.Response(status=row.status, text=_page(row.status, error.message), content_type="text/html")
    else:
        response = web.Response(status=row.status, body=error_body(error), content_type="application/json")
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    if row.retry is not None:
        response.headers["x-should-retry"] = "true" if row.retry else "false"
    if error.reason is Reason.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Basic realm="llama-swap"'
    return response


def _page(status: int, message: str) -> str:
    title = f"llama-swap: {status}"
    text = html.escape(message.encode("utf-8", "backslashreplace").decode())
    return f"<!doctype html><title>{title}</title><h1>{title}</h1><p>{text}</p>\n"
