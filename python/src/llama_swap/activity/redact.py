"""Headers as they may be shown to whoever may read the activity."""

from collections.abc import Collection, Sequence

REDACTED = "[REDACTED]"

# llama-swap v250's list.
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"})

HeaderPairs = Collection[tuple[str | bytes, str | bytes]]
"""Names in any case; as aiohttp parsed them or as they are on the wire."""


def redact_headers(headers: HeaderPairs, secrets: Sequence[str] = ()) -> dict[str, str]:
    """Name -> value, without secrets; values of a repeated name are joined by commas.

    Args:
        headers: of a request or an answer.
        secrets: the configured API keys; a value that contains one, wherever a client put it, loses it.
    """
    shown: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, value in text_headers(headers):
        lower = name.lower()
        safe = REDACTED if lower in _SECRET_HEADERS else _without(value, secrets)
        if lower in names and lower in _SECRET_HEADERS:
            continue
        known = names.setdefault(lower, name)
        shown[known] = f"{shown[known]}, {safe}" if known in shown else safe
    return shown


def _without(value: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        if secret and secret in value:
            value = value.replace(secret, REDACTED)
    return value


def text_headers(headers: HeaderPairs) -> list[tuple[str, str]]:
    """Headers as text; bytes on the wire are Latin-1 (RFC 9110 §5.5)."""
    return [(_text(name), _text(value)) for name, value in headers]


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
