r"""Commands to arguments, as a POSIX shell splits words, with nothing else that a shell does.

The rules are llama-swap's, which differ from :func:`shlex.split`: an unclosed quote runs to the end, ``\$`` in double
quotes is ``$``, a backslash before a newline vanishes with it, and a carriage return is an ordinary character.
"""

import re
from collections.abc import Mapping

ENV_REFERENCE = re.compile(r"\$\{env\.([A-Za-z_][A-Za-z0-9_]*)\}")
"""An environment macro; in commands it is replaced last, so that its value can contain quotes."""

_SPACE = frozenset(" \t\n")
_ESCAPED_IN_DOUBLE_QUOTES = frozenset('$`"\\\n')


def drop_comments(command: str) -> str:
    """The command without the lines that start with ``#``."""
    return "\n".join(line for line in command.split("\n") if not line.lstrip().startswith("#"))


def split_command(command: str, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Split a whole command: drop comment lines and the backslash that ends a line, then split words.

    Args:
        command: text, with ``${env.X}`` still in it.
        env: values for those; one that is not here stays as it is written.
    """
    lines = drop_comments(command).split("\n")
    joined = "\n".join(line.rstrip()[:-1] + " " if line.rstrip().endswith("\\") else line for line in lines)
    return split_words(joined, env or {})


def split_words(text: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """Split at blanks outside quotes.

    The value of an environment macro is treated as a shell treats ``$X``: its quotes and backslashes are ordinary
    characters, and its blanks separate words unless the macro stands in quotes.
    """
    words: list[list[str]] = []
    inside = False
    position = 0
    while position < len(text):
        if text[position] in _SPACE:
            inside, position = False, position + 1
            continue
        if found := ENV_REFERENCE.match(text, position):
            inside, position = _add_value(env.get(found[1], found[0]), words, inside=inside), found.end()
            continue
        piece, position = _piece(text, position, env)
        if piece is not None:
            _add(piece, words, inside=inside)
            inside = True
    return tuple("".join(word) for word in words)


def _add(piece: str, words: list[list[str]], *, inside: bool) -> None:
    if not inside:
        words.append([])
    words[-1].append(piece)


def _add_value(value: str, words: list[list[str]], *, inside: bool) -> bool:
    """Add an unquoted value; returns whether the next character goes on with the last word."""
    for char in value:
        if char not in _SPACE:
            _add(char, words, inside=inside)
        inside = char not in _SPACE
    return inside


def _piece(text: str, position: int, env: Mapping[str, str]) -> tuple[str | None, int]:
    """What the character at the position begins: its text (None for nothing at all) and where it ends."""
    char = text[position]
    if char == "'":
        end = text.find("'", position + 1)
        end = len(text) if end < 0 else end
        return fill_env(text[position + 1 : end], env), end + 1
    if char == '"':
        return _double_quoted(text, position + 1, env)
    if char != "\\":
        return char, position + 1
    escaped = text[position + 1 : position + 2]
    return (None if escaped in {"", "\n"} else escaped), position + 2


def _double_quoted(text: str, position: int, env: Mapping[str, str]) -> tuple[str, int]:
    found: list[str] = []
    while position < len(text) and text[position] != '"':
        char = text[position]
        if reference := ENV_REFERENCE.match(text, position):
            found.append(env.get(reference[1], reference[0]))
            position = reference.end()
        elif char == "\\" and text[position + 1 : position + 2] in _ESCAPED_IN_DOUBLE_QUOTES:
            found.append(text[position + 1 : position + 2].replace("\n", ""))
            position += 2
        else:
            found.append(char)
            position += 1
    return "".join(found), position + 1


def fill_env(text: str, env: Mapping[str, str]) -> str:
    """The text with its environment macros replaced, unknown ones left."""
    return ENV_REFERENCE.sub(lambda found: env.get(found[1], found[0]), text)
