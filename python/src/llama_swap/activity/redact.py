"""Headers as they may be shown to whoever may read the activity."""

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Collection, Sequence
from functools import lru_cache
from urllib.parse import unquote

REDACTED = "[REDACTED]"

# llama-swap v250 has a list of five; other APIs' names for the same are as secret.
_SECRET_NAME = re.compile(r"key|token|secret|auth|cookie|credential|password", re.IGNORECASE)
# A shorter key hides nothing, and would be found by chance in any long text.
_ENCODED_CHARACTERS = 6

HeaderPairs = Collection[tuple[str | bytes, str | bytes]]
"""Names in any case; as aiohttp parsed them or as they are on the wire."""


def redact_headers(headers: HeaderPairs, secrets: Sequence[str] = ()) -> dict[str, str]:
    """Name -> value, without secrets; values of a repeated name are joined by commas.

    Args:
        headers: of a request or an answer.
        secrets: the configured API keys; a value that contains one, wherever a client put it, loses it, also where it
            is encoded in base64 or percent-encoded.
    """
    shown: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, value in text_headers(headers):
        lower = name.lower()
        is_secret = _SECRET_NAME.search(name) is not None
        if lower in names and is_secret:
            continue
        safe = REDACTED if is_secret else redact_text(value, secrets)
        known = names.setdefault(lower, name)
        shown[known] = f"{shown[known]}, {safe}" if known in shown else safe
    return shown


def redact_body(body: bytes, secrets: Sequence[str]) -> bytes:
    """A body without the configured API keys; those too short to be a secret stay, as they may be any word."""
    long = [secret for secret in secrets if len(secret) >= _ENCODED_CHARACTERS]
    return redact_text(body.decode("latin-1"), long).encode("latin-1") if long else body


def redact_text(text: str, secrets: Sequence[str]) -> str:
    """A text, of bytes as Latin-1, without API keys: as they are, in base64 and percent-encoded."""
    plain = unquote(text, "latin-1") if secrets and "%" in text else ""
    for secret in secrets:
        wire = secret.encode("utf-8", "surrogateescape").decode("latin-1")
        if wire and wire in text:
            text = text.replace(wire, REDACTED)
        if len(secret) < _ENCODED_CHARACTERS:
            continue
        if wire in plain:
            text = _percent_encoded(wire).sub(REDACTED, text)
        for core in _base64_cores(wire):
            if core in text:
                text = re.sub(f"[A-Za-z0-9+/_-]?{re.escape(core)}[A-Za-z0-9+/_-]?=*", REDACTED, text)
    return text


@lru_cache(maxsize=64)
def _percent_encoded(wire: str) -> re.Pattern[str]:
    """Finds a key of which any character may be written as ``%XX``."""
    return re.compile("".join(f"(?:{re.escape(letter)}|%(?i:{ord(letter):02x}))" for letter in wire))


@lru_cache(maxsize=64)
def _base64_cores(wire: str) -> frozenset[str]:
    """What base64 makes of a key wherever it stands in a longer text: those characters that depend on it alone."""
    key, cores = wire.encode("latin-1"), set()
    for before in range(3):
        first, end = -(-before * 8 // 6), (before + len(key)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            cores.add(encode(bytes(before) + key).decode()[first:end])
    return frozenset(cores)


def text_headers(headers: HeaderPairs) -> list[tuple[str, str]]:
    """Headers as text; bytes on the wire are Latin-1 (RFC 9110 §5.5)."""
    return [(_text(name), _text(value)) for name, value in headers]


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
