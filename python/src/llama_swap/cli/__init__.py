"""The ``llama-swap`` command: serves by default, with llama-swap's own flags; sub-commands for people.

Nothing heavy is imported until a command needs it: ``ps`` and ``--version`` answer at once.
"""

import os
import sys
from collections.abc import Sequence

from llama_swap.cli.arguments import parse
from llama_swap.cli.client import ClientError

_INTERRUPTED = 128 + 2
_BROKEN_PIPE = 128 + 13


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    0 done; 1 it failed (for the bare form and ``serve`` also: cannot listen); 2 wrong usage; 78 a configuration that
    cannot be used, from ``serve`` and ``check`` (the bare form gives 1, as llama-swap does).
    """
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except ClientError as error:
        sys.stderr.write(f"llama-swap: {error}\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; without this Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    return status
