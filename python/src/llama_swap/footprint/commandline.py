"""Which part of a command is llama-server's own command line, where the command is one.

Commands often wrap it: ``env A=B llama-server``, ``nice -n 5 llama-server``, ``bash -c 'exec llama-server ...'``. Here
it is looked for by its name, and in what a shell is given only as far as words are plain words: a shell's variables,
substitutions and pipes are not played through. A container's files and memory are not ours to look into.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from llama_swap.footprint.facts import NotUnderstoodError

_SERVER = re.compile(r"(llama-server|llama-swap-embedded-server)([-.][\w.-]+)?")
_UMBRELLA = {"llama", "llama-app"}
_SERVING = {"serve", "server"}
_SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "busybox"}
_CONTAINERS = {"docker", "podman", "nerdctl", "distrobox", "apptainer", "flatpak"}
_ELSEWHERE = {"ssh", "srun", "kubectl"}
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_OPERATORS = frozenset(";&|()<>\n")
_MAX_DEPTH = 2


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """llama-server's own part of a command.

    Attributes:
        program: its file as the command names it: a path, or a name to be found on PATH.
        arguments: what follows it.
        env: the environment that it sees.
    """

    program: str
    arguments: tuple[str, ...]
    env: Mapping[str, str]


def find_server(argv: tuple[str, ...], env: Mapping[str, str], depth: int = 0) -> ServerCommand:
    """Find llama-server in a command.

    Raises:
        NotUnderstoodError: if there is none, or it runs where we cannot look.
    """
    seen = dict(env)
    for position, word in enumerate(argv):
        name = PurePath(word).name
        rest = argv[position + 1 :]
        if name in _CONTAINERS or name in _ELSEWHERE:
            raise NotUnderstoodError(f"it is started by {name}, in which files cannot be looked at")
        if _SERVER.fullmatch(name):
            return ServerCommand(word, rest, seen)
        if name in _UMBRELLA and rest and rest[0] in _SERVING:
            return ServerCommand(word, rest[1:], seen)
        if name in _SHELLS and (script := _script(rest)) is not None and depth < _MAX_DEPTH:
            return find_server(_plain_words(script), seen, depth + 1)
        if assignment := _ASSIGNMENT.fullmatch(word):
            seen[assignment[1]] = assignment[2]
    raise NotUnderstoodError("its command is no llama-server")


def _script(arguments: tuple[str, ...]) -> str | None:
    """What follows ``-c`` (also as ``-lc`` or ``-ec``)."""
    for position, word in enumerate(arguments[:-1]):
        if re.fullmatch(r"-[a-z]*c", word):
            return arguments[position + 1]
    return None


def _plain_words(script: str) -> tuple[str, ...]:
    """The words of the last simple command of a script.

    Raises:
        NotUnderstoodError: if a shell would make more of them than plain words.
    """
    lexer = shlex.shlex(script, posix=True, punctuation_chars=";&|()<>\n")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    lexer.whitespace = " \t\r"
    words: list[str] = []
    try:
        for word in lexer:
            if set(word) <= _OPERATORS:
                if _has_server(words):
                    break
                words = []
            else:
                words.append(word)
    except ValueError as error:
        raise NotUnderstoodError(f"its shell script cannot be read: {error}") from error
    if any("$" in word or "`" in word for word in words):
        raise NotUnderstoodError("its shell script has variables or substitutions")
    return tuple(words)


def _has_server(words: list[str]) -> bool:
    return any(_SERVER.fullmatch(PurePath(word).name) for word in words)
