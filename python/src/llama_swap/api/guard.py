"""What every request passes: API key, browser checks, preflight, error answers and the request log."""

import asyncio
import posixpath
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web
from msgspec.structs import replace

from llama_swap.api.auth import require_key
from llama_swap.api.browser import check_browser, is_browser
from llama_swap.api.cancellation import CANCELLED, accept_cancellation
from llama_swap.api.directory import Directory
from llama_swap.api.errors import error_response
from llama_swap.api.head_notes import HeadNotes, raw_target, take_notes
from llama_swap.api.model_routes import QUERY_ROUTES
from llama_swap.api.openai import infer
from llama_swap.api.site import Site
from llama_swap.api.visit import VISIT, Visit
from llama_swap.errors import Reason, RequestError
from llama_swap.logs import RequestRecord
from llama_swap.proxy.exchange import Outcome
from llama_swap.scheduler.events import NO_TERMS, Terms

if TYPE_CHECKING:
    from llama_swap.proxy.request_head import RequestHead

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SERVER = "llama-swap"
OPEN_PATHS = frozenset({"/health", "/wol-health", "/", "/favicon.ico", "/upstream"})
_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_STATEFUL_GETS = frozenset({"/unload", *QUERY_ROUTES})
_TOKEN_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_CLIENT_CLOSED_REQUEST = 499
_OK = Outcome.OK


class Guard:
    """Serves every request: admits it, answers what goes wrong, and writes its line into the log.

    Args:
        site: where requests come to.
        routed: serves those that are not the every-day case, by their routes.
    """

    __slots__ = ("_routed", "_site")

    def __init__(self, site: Site, routed: _Handler) -> None:
        self._site = site
        self._routed = routed

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        visit = Visit(self._site)
        try:
            with visit:
                head = visit.head = _admitted(request, visit)
                visit.terms = head.terms
                # A request to a model needs no router: it would only find out again what stands in a set.
                if head.names_model_in_body:
                    response = await infer(request, visit)
                else:
                    response = await self._route(request, visit)
        except asyncio.CancelledError:
            if not visit.is_cancelled_by_us or visit.exchange.has_begun:
                _log(visit, _CLIENT_CLOSED_REQUEST, 0)
                raise
            accept_cancellation(request)
            response = _signed(error_response(CANCELLED))
        except Exception as error:  # noqa: BLE001 - the last line of defence: a bug in one handler must not cost the others
            response = _signed(_answer_to(error, request, visit))
        exchange = visit.exchange
        _log(visit, exchange.status or response.status, exchange.response_bytes or _body_length(response))
        return response

    async def _route(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return _signed(_preflight(request))
        request[VISIT] = visit
        return await self._routed(request)


def _admitted(request: web.Request, visit: Visit) -> HeadNotes:
    """The notes about its head if this request may be handled, else raises RequestError.

    Clients send the same head over and over. One that was admitted is not looked at again on its connection, until
    another configuration is in force.
    """
    protocol: Any = request.protocol
    seen: RequestHead = protocol.head
    head: HeadNotes | None = seen.notes
    config = visit.site.supervisor.config
    if head is None or head.admitted_by is not config:
        head = visit.head = take_notes(request)
        terms = _admit(request, visit.site, visit.site.directory)
        head = seen.notes = replace(head, admitted_by=config, has_our_key=bool(config.api_keys), terms=terms)
    return head


def _admit(request: web.Request, site: Site, directory: Directory) -> Terms:
    """On what terms this request may be handled; raises RequestError unless it may.

    Nothing is looked at but its head and what does not change while the directory is in force.
    """
    if request.method == "OPTIONS":
        return NO_TERMS
    headers, path = request.headers, request.path
    terms, proven = NO_TERMS, False
    if directory.keys and path not in OPEN_PATHS:
        credential = require_key(headers, directory.keys)
        terms = directory.terms_of(credential.key)
        proven = not credential.ambient
    if is_browser(headers):
        check_browser(
            headers,
            names=site.known_names | directory.allowed_hosts,
            changes_state=_changes_state(request) and not proven,
            needs_proof=path == "/unload",  # llama-swap's GET that any <img> could make
        )
    return terms


def _changes_state(request: web.Request) -> bool:
    """Whether a request may start, stop or change something; some of llama-swap's GETs do."""
    path = request.path
    return (
        request.method not in _READING_METHODS or path in _STATEFUL_GETS or path.startswith(("/upstream/", "/comfyui/"))
    )


def _answer_to(error: Exception, request: web.Request, visit: Visit) -> web.StreamResponse:
    """What a client gets to know of what went wrong."""
    if isinstance(error, RequestError):
        visit.refusal = error.without_traceback()
        return error_response(error, accept=request.headers.get("Accept", ""))
    if isinstance(error, web.HTTPException):
        return _plain_http(request, error)
    structlog.get_logger("api").error("request failed", path=request.path, exc_info=error)
    return error_response(RequestError(Reason.INTERNAL, "internal error: the service's log has the details"))


def _signed(response: web.StreamResponse) -> web.StreamResponse:
    """Name ourselves in our own answers, not the libraries and versions we are made of."""
    response.headers["Server"] = SERVER
    return response


async def sign(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """The same for what routes answer, as soon as they do."""
    _signed(response)


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
    path, question, query = raw_target(request.raw_path).partition("?")
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


def _log(visit: Visit, status: int, length: int) -> None:
    """Write the request's line and count it."""
    site, started_at = visit.site, visit.started_at
    outcome, first = _outcome(visit, status), visit.exchange.first_byte_at
    lease, queue, load = visit.lease, None, None
    if lease is not None:
        queue, load = lease.queue_seconds, lease.load_seconds
    total = time.monotonic() - started_at
    if visit.requested:
        site.observation.metrics.observe_request(
            visit.model, outcome.partition(":")[0], seconds=total, queue_seconds=queue, load_seconds=load
        )
    record = RequestRecord(
        words=visit.head.words,
        status=status,
        sent_bytes=length,
        total_ms=total * 1000,
        model=visit.model or None,
        requested=visit.requested or None,
        queue_ms=None if queue is None else queue * 1000,
        load_ms=None if load is None else load * 1000,
        first_byte_ms=None if first is None else (first - started_at) * 1000,
        outcome=outcome,
    )
    site.hub.log_request(record)


def _outcome(visit: Visit, status: int) -> str:
    """How a request ended, in one word."""
    outcome = visit.exchange.outcome
    if outcome is _OK:
        return "ok" if visit.exchange.status < 500 else "upstream_error"  # noqa: PLR2004 - the first of its own failures
    if outcome is not None:
        return str(outcome)
    if status == _CLIENT_CLOSED_REQUEST:
        return "client_gone"
    refused = visit.refusal is not None or status >= 400  # noqa: PLR2004 - the first error status
    return f"refused: {visit.refusal.reason}" if visit.refusal is not None else "refused" if refused else "ok"
