"""The command line: llama-swap's flags with one dash or two, and the sub-commands."""

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn

from llama_swap.cli import local, remote, residency
from llama_swap.durations import FORMS, parse_duration

DEFAULT_LISTEN: Final = "127.0.0.1:9292"
DEFAULT_URL: Final = "http://127.0.0.1:9292"

_ONE_DASH: Final = re.compile(r"-[a-z][a-z-]+(=.*)?", re.DOTALL)
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})

_Define = Callable[[argparse.ArgumentParser], None]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command line; ``run`` in the result carries it out.

    Raises:
        SystemExit: for help and the version (0) and for wrong usage (2).
    """
    flags = list(argv).index("--") if "--" in argv else len(argv)
    words = [*map(_two_dashes, argv[:flags]), *argv[flags:]]
    if words and not words[0].startswith("-"):
        name, *rest = words
        if name not in _COMMANDS:
            _refuse_command(name)
        summary, define = _COMMANDS[name]
        parser = _parser(f"llama-swap {name}", summary)
        define(parser)
        return parser.parse_args(rest)
    parser = _parser("llama-swap", "Serve models behind one OpenAI-compatible endpoint.")
    parser.usage = "llama-swap [FLAGS]\n       llama-swap COMMAND ..."
    commands = "\n".join(f"  {name:<8}{summary}" for name, (summary, _) in _COMMANDS.items())
    parser.epilog = f"commands (each has --help):\n{commands}"
    _define_serve(parser)
    parser.set_defaults(config_error_status=1)
    return parser.parse_args(words)


def _two_dashes(word: str) -> str:
    """Go's flags take one dash or two; to argparse one dash would begin a bunch of letters."""
    return "-" + word if _ONE_DASH.fullmatch(word) else word


def _refuse_command(name: str) -> NoReturn:
    import difflib  # noqa: PLC0415 - only a mistake needs it

    nearest = difflib.get_close_matches(name, _COMMANDS, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; there are: {', '.join(_COMMANDS)}"
    _parser("llama-swap", "").error(f"unknown command {name!r}{hint}")


def _parser(program: str, summary: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=program,
        description=summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _go_boolean(text: str) -> bool:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _define_serve(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="the configuration")
    add("--config-dir", type=Path, metavar="DIR", help="a folder of configuration files, merged in order of name")
    add("--listen", default=DEFAULT_LISTEN, metavar="HOST:PORT", help="where to listen (default: %(default)s)")
    add("--tls-cert-file", type=Path, metavar="FILE", help="serve HTTPS with this certificate chain (PEM)")
    add("--tls-key-file", type=Path, metavar="FILE", help="its private key (PEM)")
    watch = "reload when the configuration changes"
    add("--watch-config", nargs="?", type=_go_boolean, const=True, default=False, metavar="BOOL", help=watch)
    formats = ("auto", "human", "json", "logfmt")
    form = "of the lines on stdout; auto is human on a terminal, logfmt elsewhere"
    add("--log-format", choices=formats, default="auto", metavar="FORMAT", help=f"{'|'.join(formats)}: {form}")
    add("--version", action="version", version=local.version_text(), help="print the version and exit")
    parser.set_defaults(run=local.serve, config_error_status=local.CONFIG_ERROR)


def _define_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, nargs="?", metavar="FILE", help="the configuration")
    parser.add_argument("--config", dest="config_flag", type=Path, metavar="FILE", help="the same, as for serving")
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="a folder of configuration files")
    missing = "variables of the environment that are not set are warnings (for build time)"
    parser.add_argument("--allow-missing-env", action="store_true", help=missing)
    parser.set_defaults(run=local.check)


def _define_schema(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=local.schema)


def _define_remote(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get("LLAMA_SWAP_URL") or DEFAULT_URL
    url = "of the running service (default: $LLAMA_SWAP_URL, else %(default)s)"
    parser.add_argument("--url", default=default, help=url)
    parser.epilog = "A key for the service is read from $LLAMA_SWAP_API_KEY."


def _define_ps(parser: argparse.ArgumentParser) -> None:
    _define_remote(parser)
    parser.set_defaults(run=remote.ps)


def _define_load(parser: argparse.ArgumentParser) -> None:
    _define_remote(parser)
    parser.add_argument("model", metavar="MODEL", help="its ID or an alias")
    limit = "give up after this time (default: wait until it is ready or has failed)"
    parser.add_argument("--wait", type=_seconds, metavar="SECONDS", help=limit)
    stay = "stay loaded for this time when idle, from now on: 2h, 30m, 0 (not at all), -1 (for ever)"
    parser.add_argument("--keep-alive", type=_duration, metavar="TIME", help=stay)
    parser.set_defaults(run=remote.load)


def _define_unload(parser: argparse.ArgumentParser) -> None:
    _define_remote(parser)
    parser.add_argument("model", nargs="?", metavar="MODEL", help="its ID or an alias; all models if left out")
    parser.set_defaults(run=remote.unload)


def _define_logs(parser: argparse.ArgumentParser) -> None:
    _define_remote(parser)
    which = "a model's ID, proxy (the service itself) or upstream (all models); what the service prints if left out"
    parser.add_argument("monitor", nargs="?", default="", metavar="LOG", help=which)
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is written from now on")
    parser.set_defaults(run=remote.logs)


def _of_model(run: Callable[[argparse.Namespace], int]) -> _Define:
    """Of a command that takes a model and nothing else."""

    def define(parser: argparse.ArgumentParser) -> None:
        _define_remote(parser)
        parser.add_argument("model", metavar="MODEL", help="its ID or an alias")
        parser.set_defaults(run=run)

    return define


def _define_yield(parser: argparse.ArgumentParser) -> None:
    _define_remote(parser)
    add = parser.add_argument
    limit = "for how long: 2h, 30m, 90s (default: until --end)"
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--for", dest="seconds", type=_time, metavar="TIME", help=limit)
    begin.add_argument("--end", action="store_true", help="take the devices back; without --as from everybody")
    add(
        "--gpu", action="append", metavar="GPU", help="only this one, by number or UUID; may be repeated (default: all)"
    )
    add("--as", dest="holder", metavar="NAME", help="who asks; the same name replaces what it asked for before")
    add("--because", metavar="TEXT", help="what clients are told that are refused meanwhile")
    parser.set_defaults(run=residency.give_way, refuse=parser.error)


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {FORMS}") from None


def _time(text: str) -> float:
    seconds = _duration(text)
    if seconds > 0:
        return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is not more than 0")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _define_explain(parser: argparse.ArgumentParser) -> None:
    _define_remote(parser)
    parser.add_argument("model", metavar="MODEL", help="name of a model, an alias or a selector")
    parser.set_defaults(run=remote.explain)


_COMMANDS: Final[Mapping[str, tuple[str, _Define]]] = MappingProxyType(
    {
        "serve": ("serve; a configuration that cannot be used exits with 78", _define_serve),
        "check": ("check a configuration and show what it comes to", _define_check),
        "schema": ("print the JSON Schema of the configuration", _define_schema),
        "ps": ("list the models of a running service", _define_ps),
        "load": ("load a model and wait until it is ready", _define_load),
        "unload": ("unload a model, or all", _define_unload),
        "pin": ("keep a model loaded once it is", _of_model(residency.pin)),
        "unpin": ("let a model be evicted and unloaded again", _of_model(residency.unpin)),
        "yield": ("leave the GPU to other programs for a while", _define_yield),
        "logs": ("show the log of the service or of a model", _define_logs),
        "explain": ("say what a request for a model would stop and wait for", _define_explain),
        "story": ("show what happened to a model and why", _of_model(remote.story)),
    }
)
