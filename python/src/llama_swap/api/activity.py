"""The activity over HTTP: rows in pages, and statistics (llama-swap v250, its parameters and texts)."""

import re
import sqlite3
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from multidict import MultiMapping

from llama_swap.activity import SORT_COLUMNS, ActivityQuery, Captures, Store
from llama_swap.activity.query import DEFAULT_LIMIT
from llama_swap.api.timestamps import read_timestamp
from llama_swap.errors import Reason, RequestError

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_MOST_ROWS = 999
_LARGEST = 2**63 - 1
_INTEGER = re.compile(r"[+-]?[0-9]+")


def routes(store: Store, captures: Captures) -> list[web.RouteDef]:
    """``GET /api/metrics/activity`` and ``GET /api/metrics/stats``."""
    return [
        web.get("/api/metrics/activity", _activity_handler(store, captures)),
        web.get("/api/metrics/stats", _stats_handler(store)),
    ]


def _activity_handler(store: Store, captures: Captures) -> _Handler:
    async def activity(request: web.Request) -> web.StreamResponse:
        """One page of rows, the newest first unless asked otherwise."""
        query = parse_query(request.query)
        try:
            page = await store.page(query)
        except sqlite3.Error as error:
            raise _unreadable(error) from error
        return _json(
            {
                "data": [row.to_json(has_capture=row.id in captures) for row in page.rows],
                "page": page.page,
                "limit": page.limit,
                "total": page.total,
                "total_pages": page.total_pages,
            }
        )

    return activity


def _stats_handler(store: Store) -> _Handler:
    async def stats(request: web.Request) -> web.StreamResponse:
        """Totals and distributions of speed, of all models or of ``?model=``."""
        try:
            return _json(await store.stats(request.query.get("model", "").strip() or None))
        except sqlite3.Error as error:
            raise _unreadable(error) from error

    return stats


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _unreadable(error: sqlite3.Error) -> RequestError:
    return RequestError(Reason.INTERNAL, f"the activity cannot be read: {error}")


def parse_query(parameters: MultiMapping[str]) -> ActivityQuery:
    """The parameters of ``/api/metrics/activity``; raises RequestError INVALID_REQUEST with llama-swap's texts."""
    start, end = (read_timestamp(name, _text(parameters, name)) for name in ("start", "end"))
    if start is not None and end is not None and start > end:
        raise _invalid("start must be before end")
    min_id, max_id = _row_id(parameters, "min_id"), _row_id(parameters, "max_id")
    if min_id is not None and max_id is not None and min_id > max_id:
        raise _invalid("min_id must be <= max_id")
    sort = _text(parameters, "sort") or "id"
    if sort not in SORT_COLUMNS:
        raise _invalid("invalid sort column")
    order = _text(parameters, "order").lower() or "desc"
    if order not in ("asc", "desc"):
        raise _invalid("order must be asc or desc")
    models = [name.strip() for name in parameters.getall("model", [])]
    return ActivityQuery(
        limit=_limit(parameters),
        page=_page(parameters),
        models=tuple(name for name in models if name),
        start_seconds=None if start is None else int(start.timestamp()),
        end_seconds=None if end is None else int(end.timestamp()),
        min_id=min_id,
        max_id=max_id,
        sort=sort,
        ascending=order == "asc",
    )


def _invalid(message: str) -> RequestError:
    return RequestError(Reason.INVALID_REQUEST, message)


def _text(parameters: MultiMapping[str], name: str) -> str:
    """The first value; an empty one counts as absent."""
    return parameters.get(name, "").strip()


def _integer(text: str) -> int | None:
    """A decimal number that SQLite can hold, else None."""
    if not _INTEGER.fullmatch(text) or len(text) > len(str(_LARGEST)) + 1:
        return None
    number = int(text)
    return number if abs(number) <= _LARGEST else None


def _limit(parameters: MultiMapping[str]) -> int:
    text = _text(parameters, "limit")
    if not text:
        return DEFAULT_LIMIT
    limit = _integer(text)
    if limit is None:
        raise _invalid("invalid limit")
    if not 1 <= limit <= _MOST_ROWS:
        raise _invalid(f"limit must be between 1 and {_MOST_ROWS}")
    return limit


def _page(parameters: MultiMapping[str]) -> int:
    page = _integer(_text(parameters, "page") or "1")
    if page is None or page < 1:
        raise _invalid("page must be >= 1")
    return page


def _row_id(parameters: MultiMapping[str], name: str) -> int | None:
    text = _text(parameters, name)
    if not text:
        return None
    number = _integer(text)
    if number is None or number < 1:
        raise _invalid(f"{name} must be >= 1")
    return number
