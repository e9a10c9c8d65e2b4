"""The command ``llama-swap-embedded-server``: llama.cpp's own HTTP server where no ``llama-server`` is installed.

The PyPI package xllamacpp carries llama.cpp's server as native code: it listens first, answers 503 on ``/health`` while
the model loads, then serves, all on native threads. This command only translates flags, waits and stops.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from llama_swap.demo.flags import FlagError, parse_flags

_DEFAULT_PORT = 8080
_ALL_MESSAGES = 2**31 - 1

# Flags whose value goes unchanged to the field of llama.cpp's parameters at this path.
_SAME_VALUE = {
    "model": "model.path",
    "port": "port",
    "reuse_port": "reuse_port",
    "api_prefix": "api_prefix",
    "threads_http": "n_threads_http",
    "metrics": "endpoint_metrics",
    "props": "endpoint_props",
    "slots": "endpoint_slots",
    "webui": "ui",
    "verbosity": "verbosity",
    "embedding": "embedding",
    "chat_template": "chat_template",
    "jinja": "use_jinja",
    "main_gpu": "main_gpu",
    "warmup": "warmup",
    "ctx_size": "n_ctx",
    "parallel": "n_parallel",
    "batch_size": "n_batch",
    "ubatch_size": "n_ubatch",
    "threads": "cpuparams.n_threads",
    "threads_batch": "cpuparams_batch.n_threads",
    "cache_ram": "cache_ram_mib",
    "cont_batching": "cont_batching",
    "context_shift": "ctx_shift",
    "kv_unified": "kv_unified",
    "predict": "n_predict",
    "temp": "sampling.temp",
    "top_k": "sampling.top_k",
    "top_p": "sampling.top_p",
    "min_p": "sampling.min_p",
    "repeat_penalty": "sampling.penalty_repeat",
    "presence_penalty": "sampling.penalty_present",
    "frequency_penalty": "sampling.penalty_freq",
    "ignore_eos": "sampling.ignore_eos",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Serve one model until SIGTERM or SIGINT.

    Args:
        argv: the arguments without the program's name; those of the process by default.

    Returns:
        The exit code: 0 after a signal, 1 for a bad command line or a model that does not load.
    """
    try:
        flags = parse_flags(sys.argv[1:] if argv is None else argv)
        if "version" in flags:
            sys.stdout.write(f"version: xllamacpp {version('xllamacpp')}\n")
            return 0
        _serve(flags)
    except FlagError as error:
        sys.stderr.write(f"error: {error}\n")
    except ImportError:
        sys.stderr.write("error: the Python package xllamacpp is not installed: pip install 'llama-swap[demo]'\n")
    except RuntimeError as error:  # llama.cpp has printed the reason before
        sys.stderr.write(f"error: {error}\n")
    return 1


def _serve(flags: argparse.Namespace) -> NoReturn:
    # Loading holds the interpreter, so a handler would run too late. llama-server has none while it loads either, nor
    # for a moment after it is healthy: a signal then ends the process by its default.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    import xllamacpp  # noqa: PLC0415 - a native library of 100 MB that a wrong command line need not load

    server = xllamacpp.Server(_parameters(xllamacpp, flags))
    _wait_for_signal()
    # Tearing the server down waits up to 30 s for streams that run (llama-server does too) and has nothing to save.
    sys.stderr.write(f"stopping {server.listening_address}\n")
    os._exit(0)


def _wait_for_signal() -> None:
    """Block until SIGTERM or SIGINT, whichever of the native threads it is delivered to."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    os.read(reader, 1)


def _parameters(xllamacpp: Any, flags: argparse.Namespace) -> Any:  # xllamacpp has no type information
    """llama.cpp's parameters for the flags, with the defaults of llama-server."""
    params = xllamacpp.CommonParams()
    params.port = _DEFAULT_PORT
    params.n_parallel = -1
    given = vars(flags)
    for name, path in _SAME_VALUE.items():
        if name in given:
            _set(params, path, given[name])
    for name, convert in _converters(xllamacpp).items():
        if name in given:
            for path, value in convert(given[name]).items():
                _set(params, path, value)
    return params


def _set(params: Any, path: str, value: Any) -> None:
    *parents, field = path.split(".")
    target = params
    for parent in parents:
        target = getattr(target, parent)
    setattr(target, field, value)


def _converters(xllamacpp: Any) -> dict[str, Callable[[Any], dict[str, Any]]]:
    """For each flag that needs more than a copy: from its value to fields of the parameters."""

    def member(enum: str, value: str) -> Any:
        """The member of one of llama.cpp's enums, whose names all start with the name of the enum."""
        prefix = enum.upper() + "_"
        try:
            return getattr(xllamacpp, enum)[prefix + value.upper().replace("-", "_")]
        except KeyError:
            raise FlagError(f"unknown value: {value}") from None

    flash_attention = {"on": "enabled", "off": "disabled", "auto": "auto"}
    return {
        "host": lambda text: {"hostnames": text.split(",")},
        "alias": lambda text: {"model_alias": set(text.split(","))},
        "api_key": lambda text: {"api_keys": text.split(",")},
        "timeout": lambda seconds: {"timeout_read": seconds, "timeout_write": seconds},
        "verbose": lambda _: {"verbosity": _ALL_MESSAGES},
        "rerank": lambda _: {"embedding": True, "pooling_type": member("llama_pooling_type", "rank")},
        "pooling": lambda name: {"pooling_type": member("llama_pooling_type", name)},
        "chat_template_file": lambda file: {"chat_template": _text_of(file)},
        "reasoning_format": lambda name: {"reasoning_format": member("common_reasoning_format", name)},
        "gpu_layers": lambda text: {"n_gpu_layers": _gpu_layers(text)},
        "fit": lambda text: {"fit_params": text == "on"},
        "load_mode": lambda name: {"load_mode": member("llama_load_mode", name)},
        "flash_attn": lambda name: {"flash_attn_type": member("llama_flash_attn_type", flash_attention[name])},
        "cache_type_k": lambda name: {"cache_type_k": member("ggml_type", name)},
        "cache_type_v": lambda name: {"cache_type_v": member("ggml_type", name)},
        "seed": lambda number: {"sampling.seed": number % 2**32},
    }


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise FlagError(f"cannot read {file}: {error.strerror}") from error


def _gpu_layers(text: str) -> int:
    named = {"auto": -1, "all": -2}
    try:
        return named[text] if text in named else int(text)
    except ValueError:
        raise FlagError(f"-ngl takes a number, auto or all, not {text}") from None


if __name__ == "__main__":
    sys.exit(main())
