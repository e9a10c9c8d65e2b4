"""API keys that stand in files, so that the configuration itself holds no secret.

``{file: PATH}`` is any file; ``{credential: NAME}`` is one that systemd handed over (``LoadCredential=`` of the unit,
systemd.exec(5)). Either has one key per line; empty lines and lines that start with ``#`` do not count.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from llama_swap.config.leaves import broken, text_value

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""The variable in which systemd names the directory of a unit's credentials."""

LARGEST_FILE = 1 << 20
"""Bytes of a file of keys; a larger one is none."""

_FORMS = "write the key, {file: PATH} or {credential: NAME}"


class Origin(StrEnum):
    """Where a key is read from."""

    FILE = "file"
    CREDENTIAL = "credential"


@dataclass(frozen=True, slots=True)
class KeyFrom:
    """A key, or several, that stand elsewhere.

    Attributes:
        where: a path, or the name of a credential.
    """

    origin: Origin
    where: str


def _key(raw: Any) -> str | KeyFrom:
    if not isinstance(raw, dict):
        if isinstance(raw, list):
            raise broken("must be text or a mapping, not a list", _FORMS)
        return text_value(raw)
    if len(raw) != 1 or next(iter(raw)) not in set(Origin):
        raise broken("must be text, or a mapping with either `file` or `credential`", _FORMS)
    origin, where = next(iter(raw.items()))
    return KeyFrom(Origin(origin), _where(Origin(origin), where))


def _where(origin: Origin, raw: Any) -> str:
    name = text_value(raw)
    if not name.strip():
        raise broken(f"`{origin}` must not be empty", _FORMS)
    if origin is Origin.CREDENTIAL and ("/" in name or name in {".", ".."}):
        raise broken("the name of a credential has no `/`", "use {file: PATH} for a path")
    return name


_TEXT_SCHEMA = WithJsonSchema({"type": "string"})

FilePath = Annotated[str, BeforeValidator(partial(_where, Origin.FILE)), _TEXT_SCHEMA]
CredentialName = Annotated[str, BeforeValidator(partial(_where, Origin.CREDENTIAL)), _TEXT_SCHEMA]

_ORIGIN_SCHEMA = {
    "type": "object",
    "properties": {origin: {"type": "string"} for origin in Origin},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}

Key = Annotated[
    str | KeyFrom,
    BeforeValidator(_key),
    WithJsonSchema({"anyOf": [{"type": ["string", "number", "boolean"]}, _ORIGIN_SCHEMA]}),
]


class KeyFileError(Exception):
    """A source of keys that cannot be used; the text says why, without any of its content."""


def read_keys(source: KeyFrom, base: Path, env: Mapping[str, str]) -> tuple[str, ...]:
    """The keys of one source, at least one.

    Args:
        source: where they stand.
        base: the directory that a relative path starts from.
        env: holds systemd's directory of credentials.

    Raises:
        KeyFileError: it cannot be read, or it has no key.
    """
    path = _path(source, base, env)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        text = content.decode()
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KeyFileError(f"{path} is not text") from None
    if len(content) > LARGEST_FILE:
        raise KeyFileError(f"{path} is too large for a file of keys")
    keys = tuple(_lines(text))
    if not keys:
        raise KeyFileError(f"there is no key in {path}")
    return keys


def _path(source: KeyFrom, base: Path, env: Mapping[str, str]) -> Path:
    if source.origin is Origin.FILE:
        return base / source.where
    directory = env.get(CREDENTIALS)
    if not directory:
        raise KeyFileError(
            f"credential '{source.where}': {CREDENTIALS} is not set; LoadCredential= of the unit sets it"
        )
    return Path(directory) / source.where


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        key = line.strip()
        if key and not key.startswith("#"):
            yield key
