"""What not to show: keys, tokens and passwords in commands and values."""

import re

HIDDEN = "REDACTED"

_SECRET = re.compile(
    r"(?:api|access|private)[-_]?keys?$|(?:^|[-_])(?:token|hft)$|secret|password|passphrase|credentials?$",
    re.IGNORECASE,
)
_FLAG = re.compile(r"(--?[A-Za-z][\w-]*)(=|\s+)(\S+)")


def looks_secret(name: str) -> bool:
    """Whether a flag or an environment variable of this name holds a secret, as far as a name can tell."""
    return bool(_SECRET.search(name))


def redact_argv(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The arguments with the values of flags that look secret hidden."""
    shown: list[str] = []
    hide_next = False
    for argument in argv:
        flag, equals, _ = argument.partition("=")
        secret = flag.startswith("-") and looks_secret(flag)
        if hide_next:
            shown.append(HIDDEN)
        else:
            shown.append(f"{flag}={HIDDEN}" if secret and equals else argument)
        hide_next = secret and not equals and not hide_next
    return tuple(shown)


def redact_text(text: str) -> str:
    """Text with what follows a flag that looks secret hidden, as far as that can be told without splitting it."""
    return _FLAG.sub(lambda found: found[1] + found[2] + HIDDEN if looks_secret(found[1]) else found[0], text)
