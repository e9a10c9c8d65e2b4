"""``make demo``: two real models behind one endpoint, on any machine, in the foreground."""

import argparse
import os
import shlex
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from llama_swap.demo.folder import ALPHA, BETA, DemoError, cache_folder, upstream_command, write_demo

_DEFAULT_LISTEN = "127.0.0.1:9292"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the demo's files, say what to try, and become the service.

    Args:
        argv: the arguments without the program's name; those of the process by default.

    Returns:
        1 if the demo cannot run here; otherwise this process becomes the service and does not return.
    """
    parser = argparse.ArgumentParser(prog="python -m llama_swap.demo", description=__doc__)
    parser.add_argument("--listen", default=_DEFAULT_LISTEN, metavar="HOST:PORT", help="(%(default)s)")
    try:
        _run(parser.parse_args(argv).listen)
    except DemoError as error:
        sys.stderr.write(f"make demo: {error}\n")
    return 1


def _run(listen: str) -> NoReturn:
    _check_free(listen)
    upstream = upstream_command(os.environ)
    config = write_demo(cache_folder(os.environ), upstream)
    sys.stdout.write(introduction(listen, config, upstream))
    sys.stdout.flush()
    _become_service(listen, config)


def _become_service(listen: str, config: Path) -> NoReturn:
    """Replace this process, so that signals reach the service without a go-between."""
    serve = [sys.executable, "-m", "llama_swap", "--config", str(config), "--listen", listen, "--watch-config"]
    os.execv(serve[0], serve)  # noqa: S606 - the rule fears a shell, there is none


def introduction(listen: str, config: Path, upstream: Sequence[str]) -> str:
    """What the demo prints before it serves: what runs, and three commands to try in another terminal."""
    command = Path(sys.executable).parent / "llama-swap"
    return "\n".join(
        [
            f"configuration  {config}",
            f"upstream       {shlex.join(upstream)}",
            f"endpoint       http://{listen}/v1",
            "",
            "Try in another terminal (the second command makes the second model take the place of the first):",
            "",
            f"  {_chat_command(listen, ALPHA.name)}",
            "",
            f"  {_chat_command(listen, BETA.name)}",
            "",
            f"  {_shortened(command)} ps --url http://{listen}",
            "",
            "Ctrl-C ends the demo and both models.",
            "",
            "",
        ]
    )


def _chat_command(listen: str, model: str) -> str:
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Who are you?"}}]}}'
    return f"curl http://{listen}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'"


def _shortened(path: Path) -> str:
    """The path as seen from the current folder, if it lies in it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _check_free(listen: str) -> None:
    """Raise DemoError if the address is taken, before files are written and commands are printed."""
    host, _, port = listen.rpartition(":")
    try:
        with socket.create_server((host, int(port))):
            pass
    except ValueError:
        raise DemoError(f"not HOST:PORT: {listen}") from None
    except OSError as error:
        reason = f"cannot listen on {listen}: {error.strerror}"
        raise DemoError(f"{reason}; choose another address: make demo LISTEN=127.0.0.1:9393") from error


if __name__ == "__main__":
    sys.exit(main())
