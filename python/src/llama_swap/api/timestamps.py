"""Points in time in a query string."""

import re
from datetime import datetime

from llama_swap.errors import Reason, RequestError

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def read_timestamp(name: str, text: str) -> datetime | None:
    """A point in time in RFC 3339's form; None for an empty text.

    Raises:
        RequestError: INVALID_REQUEST with llama-swap's words; ``name`` is that of the parameter.
    """
    if not text:
        return None
    # A plus sign that nobody encoded arrives as a blank.
    moment = text.replace(" ", "+")
    try:
        if _RFC3339.fullmatch(moment):
            return datetime.fromisoformat(moment.upper())
    except ValueError:
        pass  # such as the 31st of February
    raise RequestError(Reason.INVALID_REQUEST, f"invalid '{name}' timestamp, use RFC3339 format")
