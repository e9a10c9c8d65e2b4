"""What may be written as the address of a server."""

from urllib.parse import urlsplit


def url_fault(url: str) -> str | None:
    """Why a text is not the base URL of a server, or None if it is one."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in {"http", "https"}:
        return "it must start with http:// or https://"
    if parts.query or parts.fragment:
        return "it must not have a query or a fragment"
    return None if parts.hostname else "it has no host"
