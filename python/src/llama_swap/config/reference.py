"""The tables of every key in the documentation, made from the schema: ``python -m llama_swap.config.reference FILE``.

They stand between two marks in the file; everything else there is written by hand.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin, get_type_hints

from pydantic import WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from llama_swap.config import leaves, sizes
from llama_swap.config.apikeys import CredentialName, FilePath, Key
from llama_swap.config.schema import ConfigFile
from llama_swap.config.schema_apikeys import ApiKey
from llama_swap.config.section import Section, descriptions

BEGIN = "<!-- keys: written by `make docs`, not by hand -->"
END = "<!-- end of keys -->"
ADDITION = "(an addition)"
"""What the description of a key says that llama-swap does not have."""

_WORDS: Sequence[tuple[Any, str]] = (
    (leaves.Text, "text"),
    (leaves.OptionalText, "text or nothing"),
    (leaves.Flag, "true or false"),
    (leaves.Count, "whole number, from 0"),
    (leaves.Whole, "whole number"),
    (leaves.Cost, "number, from 0"),
    (leaves.Port, "port, 1 to 65535"),
    (leaves.Seconds, "duration, from 0"),
    (leaves.IdleSeconds, "duration, from -1"),
    (leaves.Size, "size, from 0"),
    (sizes.Memory, "memory, from 0"),
    (sizes.Vram, "memory, from 0, or mapping of it"),
    (leaves.Command, "text or list of text"),
    (leaves.Json, "anything"),
    (FilePath, "path"),
    (CredentialName, "name"),
    (ApiKey, "text or section"),
    (Key, "text, `{file: PATH}` or `{credential: NAME}`"),
)


def render_tables() -> str:
    """A heading and a table for every section of the configuration, in the order in which they are met."""
    parts: list[str] = []
    for section, paths in sections().items():
        title = " and ".join(f"`{path}`" for path in paths if path) or "The file"
        texts = descriptions(section)
        rows = [_row(section, name, texts.get(name, "")) for name in section.model_fields]
        parts.append("\n".join([f"### {title}", "", *_HEAD, *rows]))
    return "\n\n".join(parts)


def sections() -> dict[type[Section], list[str]]:
    """Every section with the paths it stands at; ``NAME`` is a name that the author of a file gives."""
    found: dict[type[Section], list[str]] = {}
    _collect(ConfigFile, "", found)
    return found


def key_paths() -> Iterator[tuple[str, str]]:
    """Every key by its path, with its description."""
    for section, paths in sections().items():
        texts = descriptions(section)
        for path in paths:
            for name, field in section.model_fields.items():
                yield f"{path}.{field.alias}".lstrip("."), texts.get(name, "")


def is_addition(description: str) -> bool:
    """Whether llama-swap does not know the key."""
    return ADDITION in description


def with_tables(page: str) -> str:
    """The page with fresh tables between the marks.

    Raises:
        ValueError: a mark is missing.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs a line `{BEGIN}` and below it a line `{END}`")
    return f"{head}{BEGIN}\n\n{render_tables()}\n\n{END}{tail}"


_HEAD = ("| key | type | default | meaning | llama-swap |", "|---|---|---|---|---|")


def _collect(section: type[Section], path: str, found: dict[type[Section], list[str]]) -> None:
    found.setdefault(section, []).append(path)
    for name, hint in get_type_hints(section, include_extras=True).items():
        field = section.model_fields.get(name)
        if field is None:
            continue
        below = f"{path}.{field.alias}".lstrip(".")
        kind = _bare(hint)
        if get_origin(kind) is dict:
            kind, below = _bare(get_args(kind)[1]), f"{below}.NAME"
        elif get_origin(kind) is tuple:
            kind = _bare(get_args(kind)[0])
        if _is_section(kind):
            _collect(kind, below, found)


def _row(section: type[Section], name: str, description: str) -> str:
    field, hint = section.model_fields[name], get_type_hints(section, include_extras=True)[name]
    meaning = " ".join(description.split()).replace("|", "\\|")
    origin = "ours" if is_addition(description) else "same"
    return f"| `{field.alias}` | {_words(hint)} | {_default(hint, field)} | {meaning} | {origin} |"


def _bare(hint: Any) -> Any:
    """The type of a section, a mapping or a list without what wraps it."""
    if get_origin(hint) in {Union, UnionType}:
        return _bare(get_args(hint)[0])
    if get_origin(hint) is Annotated:
        inner = get_args(hint)[0]
        return inner if get_origin(inner) is dict or _is_section(inner) else hint
    return hint


def _is_section(kind: Any) -> TypeGuard[type[Section]]:
    # `dict[str, X]` is an instance of `type` for `isinstance`, and no class for `issubclass`.
    return isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, Section)


def _words(hint: Any) -> str:
    """The type of a key for people."""
    for kind, words in _WORDS:
        if hint == kind:
            return words
    kind = _bare(hint)
    if kind != hint:
        return _words(kind)
    if get_origin(kind) is tuple:
        return f"list of {_words(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return f"mapping of {_words(get_args(kind)[1])}"
    if _is_section(kind):
        return "section"
    return "one of " + ", ".join(f"`{word}`" for word in _choices(kind) if word)


def _choices(kind: Any) -> list[str]:
    schema = next(part for part in get_args(kind) if isinstance(part, WithJsonSchema)).json_schema
    return [] if schema is None else schema["anyOf"][0]["enum"]


def _default(hint: Any, field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined or default is None or isinstance(default, Section) or default in ((), {}, ""):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if hint == sizes.Memory:
        return f"`{sizes.render_bytes(default)}`"
    if isinstance(default, tuple):
        return ", ".join(f"`{item}`" for item in default)
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def main() -> None:
    """Write the tables anew into the pages that are named."""
    for name in sys.argv[1:]:
        page = Path(name)
        page.write_text(with_tables(page.read_text()))


if __name__ == "__main__":
    main()
