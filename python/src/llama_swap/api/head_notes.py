"""What the head of a request says to us, worked out once for all requests of a connection that have the same."""

from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from llama_swap.api.model_routes import INFER_ROUTES, upstream_target
from llama_swap.config import Config
from llama_swap.logs import RequestWords
from llama_swap.proxy.websocket import wants_websocket
from llama_swap.scheduler.events import NO_TERMS, Terms

_EVENT_STREAM = "text/event-stream"
_NO_WORDS = RequestWords("", "", "", "", "")


class HeadNotes(msgspec.Struct, frozen=True, eq=False):
    """Nothing of it depends on the length of the body, in which alone the heads of requests may differ that share it.

    Attributes:
        target: path and query as sent, without the scheme and host of an absolute form.
        upstream_target: the same again, as a model's own server knows it.
        path: decoded, without query.
        client: the address it came from, "" where there is none.
        words: what the request's line in the log says of it.
        form: the content type of a form, "" of any other body.
        accepts_stream: it says that it wants an event stream.
        wants_websocket: it asks to switch to that.
        names_model_in_body: what its model is stands in its body.
        admitted_by: the configuration by whose keys and hosts it was found good; None before.
        has_our_key: credentials in it are for us, by that configuration, and nobody else's business.
        terms: whose it is and how urgent, by that configuration.
    """

    method: str = ""
    target: str = ""
    upstream_target: str = ""
    path: str = ""
    client: str = ""
    words: RequestWords = _NO_WORDS
    form: str = ""
    accepts_stream: bool = False
    wants_websocket: bool = False
    names_model_in_body: bool = False
    admitted_by: Config | None = None
    has_our_key: bool = True
    terms: Terms = NO_TERMS


NO_HEAD = HeadNotes()


def take_notes(request: web.Request) -> HeadNotes:
    """What a head says before anybody has looked whether it may say so."""
    headers, method, raw_path, client = request.headers, request.method, request.raw_path, request.remote
    http = f"{request.version.major}.{request.version.minor}"
    target = raw_target(raw_path)
    return HeadNotes(
        method=method,
        target=target,
        upstream_target=upstream_target(target),
        path=request.path,
        client=client or "",
        words=RequestWords.of(client or "-", method, raw_path, http, headers.get("User-Agent", "")),
        form=request.content_type if "form" in headers.get("Content-Type", "").lower() else "",
        accepts_stream=_EVENT_STREAM in headers.get("Accept", ""),
        wants_websocket=wants_websocket(request),
        names_model_in_body=raw_path in INFER_ROUTES and method == "POST" and "Expect" not in headers,
    )


def raw_target(raw_path: str) -> str:
    """Path and query exactly as the client sent them; of an absolute-form target without scheme and host."""
    if raw_path.startswith("/"):
        return raw_path
    parts = urlsplit(raw_path)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
