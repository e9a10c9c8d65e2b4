"""API keys: where a request carries one, and whether it is one of ours (llama-swap order: Basic, Bearer, x-api-key)."""

import base64
import hmac
from collections.abc import Mapping, Sequence

import msgspec

from llama_swap.errors import Reason, RequestError

# With `apiKeys` these carry a key of ours; it is nobody else's business (llama-swap forwards them).
CREDENTIAL_HEADERS = frozenset({"authorization", "x-api-key"})


class Credential(msgspec.Struct, frozen=True, gc=False):
    """A key that a request carries.

    Attributes:
        ambient: the browser may have added it by itself (Basic), so it does not prove intent.
    """

    key: str
    ambient: bool


def read_credential(headers: Mapping[str, str]) -> Credential | None:
    """The key of a request: the password of Basic, else Bearer, else ``x-api-key``."""
    scheme, _, value = headers.get("Authorization", "").strip().partition(" ")
    scheme = scheme.lower()
    if scheme == "bearer":
        return Credential(value.strip(), ambient=False)
    if scheme == "basic":
        return _basic_password(value.strip())
    key = headers.get("x-api-key")
    return Credential(key.strip(), ambient=False) if key else None


def _basic_password(value: str) -> Credential | None:
    try:
        decoded = base64.b64decode(value, validate=True).decode()
    except ValueError:  # binascii.Error and UnicodeDecodeError are some, so is non-ASCII input
        return None
    _, _, password = decoded.partition(":")
    return Credential(password, ambient=True)


def require_key(headers: Mapping[str, str], api_keys: Sequence[bytes]) -> Credential:
    """The valid credential of a request; raises RequestError UNAUTHORIZED."""
    credential = read_credential(headers)
    if credential is None or not _is_one_of(credential.key, api_keys):
        raise RequestError(Reason.UNAUTHORIZED, "unauthorized: invalid or missing API key")
    return credential


def _is_one_of(key: str, api_keys: Sequence[bytes]) -> bool:
    """Compare with every key in constant time, so that time tells nothing about any of them."""
    # Header bytes that are no UTF-8 arrive as surrogates.
    given = key.encode("utf-8", "surrogateescape")
    matches = False
    for candidate in api_keys:
        matches |= hmac.compare_digest(given, candidate)
    return matches
