"""The flags of llama.cpp's ``llama-server`` that the embedded server understands.

Names, defaults and meaning are llama-server's own (``common/arg.cpp`` of llama.cpp). A flag the table lacks is an error
that names it: a flag that is silently ignored would make the embedded server behave unlike the real one.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn


class FlagError(Exception):
    """The command line asks for something the embedded server does not know or cannot do; the message says what."""


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting, because llama-server has its own wording and exit code for a bad command line."""

    def error(self, message: str) -> NoReturn:
        raise FlagError(message)


def parse_flags(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line of llama-server.

    Args:
        argv: the arguments without the program's name.

    Returns:
        One attribute per flag that was given; a flag that was not given has no attribute, so that the defaults stay
        those of llama.cpp.

    Raises:
        FlagError: for an unknown flag, a missing model or a value of the wrong kind.
    """
    parser = _parser()
    flags, unknown = parser.parse_known_args(list(argv))
    if unknown:
        raise FlagError(f"unknown argument: {' '.join(unknown)}")
    if "model" not in flags:
        raise FlagError("a model is needed: -m FILE")
    return flags


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="llama-swap-embedded-server",
        description="llama.cpp's own HTTP server, from the Python package xllamacpp, with the flags of llama-server.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    _add_server_flags(parser.add_argument_group("server"))
    _add_model_flags(parser.add_argument_group("model"))
    _add_compute_flags(parser.add_argument_group("compute"))
    _add_sampling_flags(parser.add_argument_group("sampling defaults"))
    return parser


def _add_server_flags(group: Any) -> None:  # argparse's groups have no public type
    group.add_argument("--version", action="store_true", help="print the version and exit")
    group.add_argument("--host", metavar="ADDRESS", help="listen here (127.0.0.1)")
    group.add_argument("--port", type=int, metavar="N", help="listen here (8080)")
    group.add_argument("--reuse-port", action="store_true", help="let several processes listen on the port")
    group.add_argument("--api-key", metavar="KEYS", help="keys that clients must send, separated by commas")
    group.add_argument("--api-prefix", metavar="PATH", help="serve below this path")
    group.add_argument("-to", "--timeout", type=int, metavar="SECONDS", help="read and write time-out (3600)")
    group.add_argument("--threads-http", type=int, metavar="N", help="threads that answer requests")
    group.add_argument("--metrics", action="store_true", help="serve /metrics")
    group.add_argument("--props", action="store_true", help="allow POST /props")
    _add_switch(group, "slots", "serve /slots")
    _add_switch(group, "webui", "serve llama.cpp's own page", ("--ui", "--no-ui"))
    group.add_argument("-lv", "--verbosity", "--log-verbosity", type=int, metavar="N", help="how much to print (3)")
    group.add_argument("-v", "--verbose", "--log-verbose", dest="verbose", action="store_true", help="print all")


def _add_model_flags(group: Any) -> None:
    group.add_argument("-m", "--model", metavar="FILE", help="GGUF file to serve")
    group.add_argument("-a", "--alias", metavar="NAMES", help="names of the model, separated by commas")
    group.add_argument("--embedding", "--embeddings", dest="embedding", action="store_true", help="only embeddings")
    group.add_argument("--rerank", "--reranking", dest="rerank", action="store_true", help="serve reranking")
    group.add_argument("--pooling", choices=["none", "mean", "cls", "last", "rank"], help="how embeddings are pooled")
    group.add_argument("--chat-template", metavar="TEMPLATE", help="name or text of a template")
    group.add_argument("--chat-template-file", type=Path, metavar="FILE", help="file with a template")
    _add_switch(group, "jinja", "render chat templates with Jinja")
    group.add_argument("--reasoning-format", choices=["none", "auto", "deepseek", "deepseek-legacy"])
    group.add_argument("-mg", "--main-gpu", type=int, metavar="N")
    group.add_argument("-ngl", "--gpu-layers", "--n-gpu-layers", dest="gpu_layers", metavar="N|auto|all")
    group.add_argument("-fit", "--fit", choices=["on", "off"], help="fit parameters into the memory of the device (on)")
    group.add_argument("-lm", "--load-mode", metavar="MODE", help="none, mmap, mlock, mmap_mlock, direct_io or auto")
    # Spellings of older versions, which most configurations still have.
    group.add_argument("--mmap", dest="load_mode", action="store_const", const="mmap")
    group.add_argument("--no-mmap", dest="load_mode", action="store_const", const="none")
    group.add_argument("--mlock", dest="load_mode", action="store_const", const="mlock")
    _add_switch(group, "warmup", "run the model once before it is ready")


def _add_compute_flags(group: Any) -> None:
    group.add_argument("-c", "--ctx-size", type=int, metavar="N", help="tokens of context, 0 for the model's own")
    group.add_argument("-np", "--parallel", type=int, metavar="N", help="requests decoded at the same time")
    group.add_argument("-b", "--batch-size", type=int, metavar="N")
    group.add_argument("-ub", "--ubatch-size", type=int, metavar="N")
    group.add_argument("-t", "--threads", type=int, metavar="N")
    group.add_argument("-tb", "--threads-batch", type=int, metavar="N")
    # Older versions had a bare -fa; newer ones want a value.
    group.add_argument("-fa", "--flash-attn", nargs="?", const="on", choices=["on", "off", "auto"])
    group.add_argument("-ctk", "--cache-type-k", metavar="TYPE", help="type of the keys in the cache (f16)")
    group.add_argument("-ctv", "--cache-type-v", metavar="TYPE", help="type of the values in the cache (f16)")
    group.add_argument("-cram", "--cache-ram", type=int, metavar="MIB", help="limit of the prompt cache (8192)")
    _add_switch(group, "cont-batching", "continuous batching", ("-cb", "-nocb"))
    _add_switch(group, "context-shift", "shift the context when it is full")
    _add_switch(group, "kv-unified", "one cache for all sequences", ("-kvu", "-no-kvu"))


def _add_sampling_flags(group: Any) -> None:
    group.add_argument(
        "-n", "--predict", "--n-predict", dest="predict", type=int, metavar="N", help="tokens, -1: no end"
    )
    group.add_argument("-s", "--seed", type=int, metavar="N")
    group.add_argument("--temp", "--temperature", dest="temp", type=float, metavar="X")
    group.add_argument("--top-k", type=int, metavar="N")
    group.add_argument("--top-p", type=float, metavar="X")
    group.add_argument("--min-p", type=float, metavar="X")
    group.add_argument("--repeat-penalty", type=float, metavar="X")
    group.add_argument("--presence-penalty", type=float, metavar="X")
    group.add_argument("--frequency-penalty", type=float, metavar="X")
    group.add_argument("--ignore-eos", action="store_true", help="go on after the end of the sequence")


def _add_switch(group: Any, name: str, text: str, *others: tuple[str, str]) -> None:
    """A pair ``--name`` and ``--no-name``, with llama-server's other spellings of it."""
    dest = name.replace("-", "_")
    group.add_argument(f"--{name}", *(on for on, _ in others), dest=dest, action="store_true", help=text)
    group.add_argument(f"--no-{name}", *(off for _, off in others), dest=dest, action="store_false")
