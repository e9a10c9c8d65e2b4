"""The small JSON bodies of control requests: may be left out, are read strictly, and a mistake is named."""

from typing import TypeVar

import msgspec
from aiohttp import web

from llama_swap.errors import Reason, RequestError
from llama_swap.proxy.body import read_body

_LIMIT_BYTES = 64 * 1024

T = TypeVar("T", bound=msgspec.Struct)


async def read_order(request: web.Request, form: type[T]) -> T:
    """What a control request asks for; all defaults where it has no body.

    Args:
        request: whose body it is; its content type means nothing.
        form: what may stand in it.

    Raises:
        RequestError: INVALID_JSON, INVALID_REQUEST for what the form does not have, BODY_TOO_LARGE.
    """
    body = await read_body(request, limit_bytes=_LIMIT_BYTES)
    try:
        return msgspec.json.decode(body if body.strip() else b"{}", type=form)
    except msgspec.ValidationError as error:
        keys = ", ".join(field.encode_name for field in msgspec.structs.fields(form))
        raise RequestError(
            Reason.INVALID_REQUEST, f"the request's body is wrong: {error}; it may have {keys}"
        ) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RequestError(Reason.INVALID_JSON, f"the request's body is not valid JSON: {error}") from error
