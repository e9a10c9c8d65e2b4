"""The types of single values: how each is written, what it becomes, and the rule a wrong one is told.

Every leaf takes a :class:`llama_swap.config.tree.Scalar`, so that text keeps the spelling of its author.
"""

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from llama_swap.config.tree import Scalar

RULE = "rule"
"""The type of our own errors; their context has ``rule`` and ``fix``."""

_MACRO_SCHEMA = {"type": "string", "pattern": r"\$\{[^}]+\}"}
LONGEST_SECONDS = 1e10
"""Centuries; more is a mistake, and more than clocks and timers take."""

_DIGITS = re.compile(r"[0-9]+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_DURATION_FORMS = 'seconds or a text like "10s", "5m", "1h30m"'


def broken(rule: str, fix: str = "") -> PydanticCustomError:
    """The error for a value that breaks a rule."""
    return PydanticCustomError(RULE, "{rule}", {"rule": rule, "fix": fix})


def _scalar(raw: Any, what: str) -> Scalar:
    if isinstance(raw, Scalar):
        return raw
    raise broken(f"must be {what}, not a {'list' if isinstance(raw, list) else 'mapping'}")


def text_value(raw: Any) -> str:
    """Text, as its author spelled it; raises for what is none."""
    scalar = _scalar(raw, "text")
    if scalar.value is None:
        raise broken("must be text, not empty")
    if isinstance(scalar.value, str):
        return scalar.value
    return scalar.text


def _optional_text(raw: Any) -> str:
    return "" if isinstance(raw, Scalar) and raw.value is None else text_value(raw)


def _whole(raw: Any) -> int:
    value = _scalar(raw, "a whole number").value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    quoted = isinstance(value, str) and value.isdecimal()
    raise broken("must be a whole number", "remove the quotes" if quoted else "")


def _cost(raw: Any) -> float:
    value = _scalar(raw, "a number").value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    quoted = isinstance(value, str) and value.replace(".", "", 1).isdecimal()
    raise broken("must be a number", "remove the quotes" if quoted else "")


def _flag(raw: Any) -> bool:
    value = _scalar(raw, "true or false").value
    if isinstance(value, bool):
        return value
    fix = "in YAML 1.2 `yes`, `no`, `on` and `off` are text" if value in {"yes", "no", "on", "off"} else ""
    raise broken("must be true or false", fix)


def _seconds(raw: Any) -> float:
    value = _scalar(raw, _DURATION_FORMS).value
    seconds = math.nan
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        seconds = float(value)
    elif isinstance(value, str) and _DURATION.fullmatch(value):
        seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(value))
    elif isinstance(value, int | float) and not isinstance(value, bool) and value < LONGEST_SECONDS:
        seconds = float(value)
    if abs(seconds) < LONGEST_SECONDS:
        return seconds
    raise broken(f"must be {_DURATION_FORMS}")


def _bytes(raw: Any) -> int:
    value = _scalar(raw, "bytes").value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise broken('must be bytes or a text like "100MB", "1GiB"')
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()])


def _command(raw: Any) -> str | tuple[str, ...]:
    if isinstance(raw, dict):
        raise broken("must be text or a list of arguments, not a mapping")
    return tuple(text_value(item) for item in raw) if isinstance(raw, list) else text_value(raw)


def json_value(raw: Any) -> Any:
    """A JSON value of any shape, from a tree of dicts, lists and scalars."""
    if isinstance(raw, dict):
        return {key: json_value(value) for key, value in raw.items()}
    if isinstance(raw, list):
        return [json_value(item) for item in raw]
    if isinstance(raw.value, float) and not math.isfinite(raw.value):
        raise broken("must be a number that JSON knows", "infinity and NaN are none")
    return raw.value


def one_of(*words: str, fold: bool = False) -> Any:
    """A type for text that is one of a few words; in any case, if ``fold``, and then lower-cased."""

    def check(raw: Any) -> str:
        text = text_value(raw).lower() if fold else text_value(raw)
        if text in words:
            return text
        raise broken("must be one of: " + ", ".join(words))

    return Annotated[str, BeforeValidator(check), WithJsonSchema({"anyOf": [{"enum": list(words)}, _MACRO_SCHEMA]})]


def _number_schema(**extra: Any) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "integer", **extra}, _MACRO_SCHEMA]})


def _or_text_schema(pattern: str, **extra: Any) -> WithJsonSchema:
    return WithJsonSchema(
        {"anyOf": [{"type": "number", **extra}, {"type": "string", "pattern": pattern}, _MACRO_SCHEMA]}
    )


_DURATION_SCHEMA = _or_text_schema(f"^{_DURATION.pattern}$", minimum=0)

Text = Annotated[str, BeforeValidator(text_value), WithJsonSchema({"type": ["string", "number", "boolean"]})]
OptionalText = Annotated[
    str, BeforeValidator(_optional_text), WithJsonSchema({"type": ["string", "number", "boolean", "null"]})
]
Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"anyOf": [{"type": "boolean"}, _MACRO_SCHEMA]})]
Count = Annotated[int, BeforeValidator(_whole), Field(ge=0), _number_schema(minimum=0)]
Whole = Annotated[int, BeforeValidator(_whole), _number_schema()]
Cost = Annotated[
    float,
    BeforeValidator(_cost),
    Field(ge=0),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, _MACRO_SCHEMA]}),
]
Port = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=65535), _number_schema(minimum=1, maximum=65535)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0), _DURATION_SCHEMA]
IdleSeconds = Annotated[
    float, BeforeValidator(_seconds), Field(ge=-1), _or_text_schema(f"^{_DURATION.pattern}$", minimum=-1)
]
Size = Annotated[
    int, BeforeValidator(_bytes), Field(ge=0), _or_text_schema(r"^[0-9.]+\s*[kKmMgGtT]?i?[bB]?$", minimum=0)
]
Command = Annotated[
    str | tuple[str, ...],
    BeforeValidator(_command),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number", "boolean"]}}]}
    ),
]
Json = Annotated[Any, BeforeValidator(json_value), WithJsonSchema({})]
