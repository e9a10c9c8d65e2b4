"""The language of a matrix set: which models may run together.

    any  := all ('|' all)*           alternatives: one of them
    all  := atom ('&' atom)*         all of them together; binds tighter than '|'
    atom := name | '+' set | '(' any ')'

A name has letters, digits, ``_``, ``-`` and ``.``; white space separates and means nothing. The grammar and the texts
of the errors are llama-swap's. Here is only syntax: what a name stands for is settled in
:mod:`llama_swap.scheduler.policy.matrix`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

NESTING_LIMIT = 50
"""Parentheses inside each other; a bound on recursion that no sensible expression meets."""


class Kind(StrEnum):
    """What an expression is."""

    MODEL = "model"
    REFERENCE = "reference"
    ALL = "all"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Expression:
    """A part of a set's definition.

    Attributes:
        name: of the model (or its short name) or of the set referred to, else "".
        position: of its first character in the text, from 0.
        parts: what is combined, in the order of the text.
    """

    kind: Kind
    position: int
    name: str = ""
    parts: tuple["Expression", ...] = ()


class DslError(Exception):
    """The text is not an expression.

    Attributes:
        message: what is wrong, as llama-swap says it.
        position: where, in characters from 0; the end of the text where something is missing.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


@dataclass(frozen=True, slots=True)
class _Token:
    """A mark (``&|()``), a name (mark ``""``), a reference (mark ``+``) or the end (mark ``$``)."""

    mark: str
    text: str
    position: int


def parse(text: str) -> Expression:
    """Read an expression.

    Raises:
        DslError: it is none.
    """
    if not text.strip():
        raise DslError("empty DSL expression", 0)
    reader = _Reader(_tokens(text))
    expression = reader.read_any(0)
    if reader.token.mark != "$":
        _fail(f"unexpected token {quoted(reader.token.text)} after expression", reader.token)
    return expression


def quoted(text: str) -> str:
    """A name as llama-swap's messages show it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character.isspace():
            at += 1
        elif character in "&|()":
            tokens.append(_Token(character, character, at))
            at += 1
        else:
            tokens.append(_word(text, at))
            at = tokens[-1].position + len(tokens[-1].mark) + len(tokens[-1].text)
    return [*tokens, _Token("$", "", len(text))]


def _word(text: str, start: int) -> _Token:
    mark = "+" if text[start] == "+" else ""
    begin = end = start + len(mark)
    while end < len(text) and _is_name_character(text[end]):
        end += 1
    if end > begin:
        return _Token(mark, text[begin:end], start)
    # llama-swap counts from the first character that is no white space.
    shown = begin - (len(text) - len(text.lstrip()))
    if mark:
        raise DslError(f"tokenize: expected set name after '+' at position {shown}", begin)
    character = f"\\{text[begin]}" if text[begin] in "'\\" else text[begin]
    raise DslError(f"tokenize: unexpected character '{character}' at position {shown}", begin)


def _is_name_character(character: str) -> bool:
    return character.isalpha() or character.isdecimal() or character in "_-."


def _fail(message: str, token: _Token) -> NoReturn:
    raise DslError(f"parse: {message}", token.position)


class _Reader:
    """Reads the tokens from left to right."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = iter(tokens)
        self.token = next(self._tokens)

    def read_any(self, depth: int) -> Expression:
        parts = [self._read_all(depth)]
        while self.token.mark == "|":
            self._advance()
            parts.append(self._read_all(depth))
        return _combine(Kind.ANY, parts)

    def _read_all(self, depth: int) -> Expression:
        parts = [self._read_atom(depth)]
        while self.token.mark == "&":
            self._advance()
            parts.append(self._read_atom(depth))
        return _combine(Kind.ALL, parts)

    def _read_atom(self, depth: int) -> Expression:
        token = self.token
        if token.mark in ("", "+"):
            self._advance()
            return Expression(Kind.REFERENCE if token.mark else Kind.MODEL, token.position, token.text)
        if token.mark != "(":
            _fail(f"unexpected token {quoted(token.text)}", token)
        if depth == NESTING_LIMIT:
            _fail(f"more than {NESTING_LIMIT} parentheses inside each other", token)
        self._advance()
        inner = self.read_any(depth + 1)
        if self.token.mark != ")":
            _fail("missing closing parenthesis", self.token)
        self._advance()
        return inner

    def _advance(self) -> None:
        self.token = next(self._tokens, self.token)


def _combine(kind: Kind, parts: list[Expression]) -> Expression:
    return parts[0] if len(parts) == 1 else Expression(kind, parts[0].position, parts=tuple(parts))
