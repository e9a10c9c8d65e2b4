"""The status page: static files that read ``/api/status`` and ``/logs/stream`` like any other client.

The files are read once, when the routes are made, and served from memory. Paths are those of llama-swap's UI.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from aiohttp import web

_TYPES: Final = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
    }
)
# Nothing from elsewhere, nothing inline, and no other site may frame the page with its buttons.
_HEADERS: Final = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
)
_INDEX: Final = "index.html"
_ICON: Final = "favicon.svg"


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    content_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class _Page:
    """The handlers over the files of the page."""

    files: dict[str, _File]

    async def file(self, request: web.Request) -> web.Response:
        """A file; a path without extension is a place inside the page, which finds its way by itself."""
        name = request.match_info["path"]
        if name not in self.files:
            if "." in name.rpartition("/")[2]:
                raise web.HTTPNotFound
            name = _INDEX
        return _answer(request, self.files[name])

    async def icon(self, request: web.Request) -> web.Response:
        """What browsers ask for on their own."""
        return _answer(request, self.files[_ICON])


def routes() -> list[web.RouteDef]:
    """``/ui/`` with its files, the icon, and the redirects that lead there."""
    page = _Page(_load())
    return [
        web.get("/", _to_page),
        web.get("/ui", _to_clean_path),
        web.get("/ui/{path:.*}", page.file),
        web.get("/upstream", _to_models),
        web.get("/favicon.ico", page.icon),
    ]


def _load() -> dict[str, _File]:
    found = {}
    for entry in Path(__file__).with_name("ui_static").iterdir():
        content_type = _TYPES.get("." + entry.name.rpartition(".")[2])
        if content_type is not None:
            body = entry.read_bytes()
            found[entry.name] = _File(body, content_type, hashlib.sha256(body).hexdigest()[:16])
    return found


def _answer(request: web.Request, file: _File) -> web.Response:
    response = web.Response(headers=_HEADERS)
    response.etag = file.etag
    if any(tag.value in (file.etag, "*") for tag in request.if_none_match or ()):
        response.set_status(304)
        return response
    response.headers["Content-Type"] = file.content_type
    response.body = file.body
    return response


async def _to_page(_request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/ui/"})


async def _to_clean_path(_request: web.Request) -> web.Response:
    return web.Response(status=307, headers={"Location": "/ui/"})


async def _to_models(_request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/ui/models"})
