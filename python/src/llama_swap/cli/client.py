"""One request to a running service, with errors that say what to do. Never through a proxy of the environment."""

import http.client
import json
import os
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from llama_swap.cli.text import printable

KEY_VARIABLE: Final = "LLAMA_SWAP_API_KEY"
_CONNECT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 30.0
_FIRST_ERROR_STATUS: Final = 400
_ERROR_BODY_LIMIT_BYTES: Final = 64 * 1024


class ClientError(Exception):
    """The service could not be asked, or refused.

    Attributes:
        status: the HTTP status of a refusal, None if no answer came.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Service:
    """Where a running service is.

    Attributes:
        url: as the user gave it.
        key: sent as a Bearer token; empty for none.
    """

    url: str
    key: str

    @classmethod
    def at(cls, url: str) -> "Service":
        """The service at a URL; a missing ``http://`` is added. The key comes from the environment."""
        return cls(url if "://" in url else f"http://{url}", os.environ.get(KEY_VARIABLE, ""))

    def get(self, path: str) -> Any:
        """The JSON answer to a GET.

        Raises:
            ClientError: no answer, a refusal, or no JSON.
        """
        with self.open("GET", path, timeout_seconds=_ANSWER_SECONDS) as response:
            return _decoded(response.read(), self.url)

    def post(self, path: str, *, timeout_seconds: float | None = None) -> None:
        """A POST without a body, whose answer may take long (None: any time).

        Raises:
            ClientError: no answer (in time), or a refusal.
        """
        with self.open("POST", path, timeout_seconds=timeout_seconds) as response:
            response.read()

    def order(
        self, method: str, path: str, body: Mapping[str, Any], *, timeout_seconds: float | None = _ANSWER_SECONDS
    ) -> Any:
        """The JSON answer to a request with a JSON body; an empty one is not sent.

        Raises:
            ClientError: no answer (in time), a refusal, or no JSON.
        """
        text = json.dumps(body).encode() if body else None
        with self.open(method, path, timeout_seconds=timeout_seconds, body=text) as response:
            return _decoded(response.read(), self.url)

    @contextmanager
    def open(
        self, method: str, path: str, *, timeout_seconds: float | None, body: bytes | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer that is not read yet; the connection is closed at the end.

        Raises:
            ClientError: no answer within the time, or a status of 400 or above.
        """
        connection, prefix = self._connection()
        try:
            response = self._answer(connection, (method, prefix + path, body), timeout_seconds)
            try:
                yield response
            except (http.client.IncompleteRead, ConnectionResetError):
                raise ClientError(f"the connection to {self.url} was cut") from None
            except TimeoutError:
                raise ClientError(f"no answer from {self.url} in time") from None
        finally:
            connection.close()

    def _answer(
        self,
        connection: http.client.HTTPConnection,
        request: tuple[str, str, bytes | None],
        timeout_seconds: float | None,
    ) -> http.client.HTTPResponse:
        method, path, body = request
        try:
            connection.connect()
            connection.sock.settimeout(timeout_seconds)
            connection.request(method, path, body, self._headers(body))
            response = connection.getresponse()
        except TimeoutError:
            raise ClientError(f"no answer from {self.url} in time") from None
        except OSError as error:
            raise ClientError(f"no llama-swap answers at {self.url}: {_reason(error)}") from None
        except http.client.HTTPException as error:
            raise ClientError(f"what answers at {self.url} does not speak HTTP: {printable(repr(error))}") from None
        if response.status >= _FIRST_ERROR_STATUS:
            raise _refusal(response)
        return response

    def _connection(self) -> tuple[http.client.HTTPConnection, str]:
        try:
            parts = urllib.parse.urlsplit(self.url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ClientError(f"{self.url!r} is not a URL: {error}") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ClientError(f"{self.url!r} is not a URL of the form http://HOST:PORT")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(host, port, timeout=_CONNECT_SECONDS), parts.path.rstrip("/")

    def _headers(self, body: bytes | None) -> dict[str, str]:
        headers = {"Accept": "application/json, */*", "User-Agent": "llama-swap-cli"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.key:
            if not (self.key.isascii() and self.key.isprintable()):
                raise ClientError(f"the key in {KEY_VARIABLE} has characters that cannot be sent")
            headers["Authorization"] = f"Bearer {self.key}"
        return headers


def path_of(*parts: str) -> str:
    """A path of these parts; a model's ID may contain any character, and its slashes stay."""
    return "".join("/" + urllib.parse.quote(part, safe="/") for part in parts)


def _refusal(response: http.client.HTTPResponse) -> ClientError:
    body = response.read(_ERROR_BODY_LIMIT_BYTES).decode("utf-8", "replace").strip()
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = body.partition("\n")[0] or f"{response.status} {response.reason}"
    if response.status == http.client.UNAUTHORIZED:
        message += f" (put a key into {KEY_VARIABLE})"
    return ClientError("\n".join(printable(line) for line in message.splitlines()), status=response.status)


def _decoded(body: bytes, url: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise ClientError(f"what answers at {url} is no llama-swap: it sent no JSON") from None


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return (error.strerror or str(error)).lower()
