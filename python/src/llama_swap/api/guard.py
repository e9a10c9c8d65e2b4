"""What every request passes: preflight, browser checks, API key, error answers and the request log."""

import asyncio
import posixpath
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from llama_swap.api.auth import require_key
from llama_swap.api.browser import check_browser
from llama_swap.api.cancellation import CANCELLED, accept_cancellation
from llama_swap.api.errors import error_response
from llama_swap.api.openai import QUERY_ROUTES
from llama_swap.api.relay import raw_target
from llama_swap.api.site import SITE, Site, site_of
from llama_swap.api.terms import caller_terms
from llama_swap.api.visit import VISIT, Visit, visit_of
from llama_swap.errors import Reason, RequestError
from llama_swap.logs import RequestRecord
from llama_swap.proxy.exchange import Outcome

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPEN_PATHS = frozenset({"/health", "/wol-health", "/", "/favicon.ico", "/upstream"})
_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_STATEFUL_GETS = frozenset({"/unload", *QUERY_ROUTES})
_TOKEN_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_CLIENT_CLOSED_REQUEST = 499


@web.middleware
async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Admit a request, answer what goes wrong, and write its line into the log."""
    visit = Visit()
    request[VISIT] = visit
    try:
        response = await _answer(request, handler)
    except asyncio.CancelledError:
        if not visit.is_cancelled_by_us or visit.exchange.has_begun:
            _log(request, visit, _CLIENT_CLOSED_REQUEST, 0)
            raise
        accept_cancellation()
        response = error_response(CANCELLED)
    length = visit.exchange.response_bytes or _body_length(response)
    _log(request, visit, visit.exchange.status or response.status, length)
    return response


async def _answer(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        if request.method == "OPTIONS":
            return _preflight(request)
        _admit(request, request.app[SITE])
        return await handler(request)
    except RequestError as error:
        visit_of(request).refusal = error.without_traceback()
        return error_response(error, accept=request.headers.get("Accept", ""))
    except web.HTTPException as answer:
        return _plain_http(request, answer)
    except Exception:  # noqa: BLE001 - the last line of defence: a bug in one handler must not cost the others
        structlog.get_logger("api").exception("request failed", path=request.path)
        failure = RequestError(Reason.INTERNAL, "internal error: the service's log has the details")
        return error_response(failure)


def _admit(request: web.Request, site: Site) -> None:
    """Raise RequestError unless this request may be handled."""
    credential = None
    if request.path not in OPEN_PATHS:
        credential = require_key(request.headers, site.config.api_keys)
        visit_of(request).terms = caller_terms(site.config, credential)
    proven = credential is not None and not credential.ambient
    check_browser(
        request.headers,
        known_names=site.known_names,
        allowed_hosts=site.config.allowed_hosts,
        changes_state=_changes_state(request) and not proven,
        needs_proof=request.path == "/unload",  # llama-swap's GET that any <img> could make
    )


def _changes_state(request: web.Request) -> bool:
    """Whether a request may start, stop or change something; some of llama-swap's GETs do."""
    path = request.path
    return (
        request.method not in _READING_METHODS or path in _STATEFUL_GETS or path.startswith(("/upstream/", "/comfyui/"))
    )


def _preflight(request: web.Request) -> web.Response:
    """Answer CORS preflight on any path, as llama-swap does; what it allows is still checked when it comes."""
    asked = request.headers.get("Access-Control-Request-Headers", "")
    names = [name.strip() for name in asked.split(",")]
    allowed = ", ".join(name for name in names if name and _TOKEN_CHARACTERS.issuperset(name))
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
        "Access-Control-Allow-Headers": allowed or "Content-Type, Authorization, Accept, X-Requested-With",
        "Access-Control-Max-Age": "86400",
    }
    return web.Response(status=204, headers=headers)


def _plain_http(request: web.Request, answer: web.HTTPException) -> web.StreamResponse:
    """Redirects pass; the router's 404 and 405 get our envelope, doubled slashes a redirect to the clean path."""
    if answer.status < 400:  # noqa: PLR2004 - the first error status
        return web.Response(status=answer.status, headers=answer.headers)
    path, question, query = raw_target(request).partition("?")
    if isinstance(answer, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(answer.allowed_methods))
        error = RequestError(Reason.METHOD_NOT_ALLOWED, f"{request.method} is not allowed on {path}, only {allowed}")
        response = error_response(error, accept=request.headers.get("Accept", ""))
        response.headers["Allow"] = allowed
        return response
    clean = _clean_path(path)
    if clean != path:
        return web.Response(status=307, headers={"Location": f"{clean}{question}{query}"})
    if isinstance(answer, web.HTTPRequestEntityTooLarge):
        error = RequestError(Reason.BODY_TOO_LARGE, answer.text or "request body too large")
    elif isinstance(answer, web.HTTPNotFound):
        error = RequestError(Reason.NOT_FOUND, f"page not found: {path}")
    else:
        error = RequestError(Reason.INVALID_REQUEST, answer.text or answer.reason)
    return error_response(error, accept=request.headers.get("Accept", ""))


def _clean_path(path: str) -> str:
    """The path without doubled slashes and dot segments, keeping a final slash."""
    clean = "/" + posixpath.normpath(path).lstrip("/")
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def _body_length(response: web.StreamResponse) -> int:
    body = response.body if isinstance(response, web.Response) else None
    return len(body) if isinstance(body, bytes | bytearray) else 0


def _log(request: web.Request, visit: Visit, status: int, length: int) -> None:
    """Write the request's line and count it."""
    exchange, lease = visit.exchange, visit.lease
    first, outcome = exchange.first_byte_at, _outcome(visit, status)
    total_seconds = time.monotonic() - visit.started_at
    queue_seconds, load_seconds = (lease.queue_seconds, lease.load_seconds) if lease else (None, None)
    site = site_of(request)
    if visit.requested:
        site.observation.metrics.observe_request(
            visit.model,
            outcome.partition(":")[0],
            seconds=total_seconds,
            queue_seconds=queue_seconds,
            load_seconds=load_seconds,
        )
    record = RequestRecord(
        client=request.remote or "-",
        method=request.method,
        path=request.raw_path,
        http=f"{request.version.major}.{request.version.minor}",
        status=status,
        sent_bytes=length,
        user_agent=request.headers.get("User-Agent", ""),
        total_ms=total_seconds * 1000,
        model=visit.model or None,
        requested=visit.requested or None,
        queue_ms=queue_seconds * 1000 if queue_seconds is not None else None,
        load_ms=load_seconds * 1000 if load_seconds is not None else None,
        first_byte_ms=(first - visit.started_at) * 1000 if first else None,
        outcome=outcome,
    )
    site.hub.log_request(record)


def _outcome(visit: Visit, status: int) -> str:
    """How a request ended, in one word."""
    if visit.exchange.outcome is Outcome.OK and visit.exchange.status >= 500:  # noqa: PLR2004 - the upstream's own failure
        return "upstream_error"
    if visit.exchange.outcome is not None:
        return str(visit.exchange.outcome)
    if status == _CLIENT_CLOSED_REQUEST:
        return "client_gone"
    refused = visit.refusal is not None or status >= 400  # noqa: PLR2004 - the first error status
    return f"refused: {visit.refusal.reason}" if visit.refusal is not None else "refused" if refused else "ok"
