"""Edits of a JSON text at a path, as gjson and sjson spell it, that leave all other values' bytes alone.

Only the containers on the path are opened, and each one only to the raw bytes of its values.
"""

from typing import cast

import msgspec

JsonObject = dict[str, msgspec.Raw]
JsonArray = list[msgspec.Raw]

_NULL = msgspec.Raw(b"null")
_decode_object = msgspec.json.Decoder(JsonObject).decode
_decode_array = msgspec.json.Decoder(JsonArray).decode

ARRAY_LIMIT = 10_000
"""The largest index that an array is filled up to with nulls."""


def split(path: str) -> list[str]:
    """The keys of a path: dots part them, a backslash takes the next character literally, ``:1`` is the key "1"."""
    parts: list[str] = []
    part: list[str] = []
    characters = iter(path)
    for character in characters:
        if character == "\\":
            part.append(next(characters, "\\"))
        elif character == ".":
            parts.append("".join(part))
            part = []
        else:
            part.append(character)
    return [*parts, "".join(part)]


def read_object(text: bytes) -> JsonObject:
    """Open a JSON object one level deep.

    Raises:
        msgspec.DecodeError: it is malformed; its ValidationError: it is not an object.
    """
    return _decode_object(text)


def write(container: JsonObject | JsonArray) -> bytes:
    """The text of an opened container."""
    return msgspec.json.encode(container)


def _open(value: msgspec.Raw | None) -> JsonObject | JsonArray | None:
    """Open a value one level deep; None where it is no container."""
    text = bytes(value) if value is not None else b""
    first = text.lstrip()[:1]
    if first == b"{":
        return _decode_object(text)
    return _decode_array(text) if first == b"[" else None


def _key(part: str) -> str:
    return part[1:] if part[:1] == ":" and part[1:].isdecimal() else part


def _index(part: str, array: JsonArray) -> int | None:
    """The position that a part means in an array; -1 is past its end for writing."""
    if part == "-1":
        return len(array)
    return int(part) if part.isascii() and part.isdecimal() and int(part) <= ARRAY_LIMIT else None


def remove(container: JsonObject | JsonArray, parts: list[str]) -> bool:
    """Remove what the path leads to; whether there was something."""
    here, places = _place(container, parts[0]), cast("dict[str | int, msgspec.Raw]", container)
    if here is None:
        return False
    if len(parts) == 1:
        del places[here]
        return True
    child = _open(places[here])
    if child is None or not remove(child, parts[1:]):
        return False
    places[here] = msgspec.Raw(write(child))
    return True


def _place(container: JsonObject | JsonArray, part: str) -> str | int | None:
    """The key or position of a value that is there; -1 is the last one of an array."""
    if isinstance(container, dict):
        key = _key(part)
        return key if key in container else None
    position = len(container) - 1 if part == "-1" else _index(part, container)
    return position if position is not None and 0 <= position < len(container) else None


def assign(container: JsonObject | JsonArray, parts: list[str], value: msgspec.Raw) -> None:
    """Put a value where the path leads, making what is missing on the way; a scalar in the way is replaced.

    Like sjson, a missing container is an array where its key is a number. A path that an array cannot follow
    changes nothing.
    """
    here, rest = parts[0], parts[1:]
    if isinstance(container, dict):
        key = _key(here)
        container[key] = _assigned(container.get(key), rest, value)
        return
    position = _index(here, container)
    if position is None:
        return
    container.extend([_NULL] * (position + 1 - len(container)))
    container[position] = _assigned(container[position], rest, value)


def _assigned(old: msgspec.Raw | None, parts: list[str], value: msgspec.Raw) -> msgspec.Raw:
    """What stands at a place once ``value`` was put at the rest of the path below it."""
    if not parts:
        return value
    child = _open(old)
    if child is None:
        child = [] if parts[0] == "-1" or (parts[0].isascii() and parts[0].isdecimal()) else {}
    assign(child, parts, value)
    return msgspec.Raw(write(child))
