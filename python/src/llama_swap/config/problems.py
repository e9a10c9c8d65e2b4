"""What is wrong with a configuration, said so that it can be mended without reading the manual."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a piece of YAML stands.

    Attributes:
        line: counted from 1; 0 is the file as a whole.
    """

    file: Path
    line: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or (as a warning) one that does not do what its author may think.

    Attributes:
        file: the source; None where no file is to blame.
        line: counted from 1; 0 where none applies.
        key: the path of keys down to the value, as in ``models.a.filters.setParams``; empty for the file itself.
        value: as written in the file, before macros, shortened; None where there is none or it is a secret.
        rule: what is not as it must be.
        fix: what to write instead; empty where that cannot be known.
    """

    file: Path | None
    line: int
    key: str
    value: str | None
    rule: str
    fix: str = ""

    def __str__(self) -> str:
        where = "" if self.file is None else f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        what = f"{self.key} = {self.value}: " if self.key and self.value is not None else f"{self.key}: "
        fix = f" ({self.fix})" if self.fix else ""
        return f"{where}{what if self.key else ''}{self.rule}{fix}"


class ConfigError(Exception):
    """A configuration that cannot be used.

    Attributes:
        problems: everything that is wrong with it, in the order of the sources.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def render_key(path: KeyPath) -> str:
    """The path as a user reads it: ``models."qwen2.5:7b".aliases[0]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            plain = step and not any(char in step for char in '. "[]\t\n')
            text += ("." if text else "") + (step if plain else f'"{step}"')
    return text
