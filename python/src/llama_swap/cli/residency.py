"""Commands about who stays: pin, unpin, yield."""

import argparse
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from llama_swap.cli.client import Service, path_of
from llama_swap.cli.memory import terms_of, yield_lines
from llama_swap.cli.text import printable


def pin(arguments: argparse.Namespace) -> int:
    """Keep a model loaded once it is."""
    answer = Service.at(arguments.url).order("POST", path_of("api", "models", "pin", arguments.model), {})
    _say(f"pinned {answer['model']}: once loaded it stays, until it is unpinned or unloaded by hand")
    return 0


def unpin(arguments: argparse.Namespace) -> int:
    """Treat a model like the others again."""
    answer = Service.at(arguments.url).order("POST", path_of("api", "models", "unpin", arguments.model), {})
    _say(f"unpinned {answer['model']}")
    return 0


def give_way(arguments: argparse.Namespace) -> int:
    """Leave devices to other programs, or take them back; done at once, busy models finish on their own."""
    service = Service.at(arguments.url)
    if arguments.end:
        if arguments.gpu or arguments.because:
            # Else somebody would believe that the others remain.
            arguments.refuse("--end ends all that a holder asked for; only --as goes with it")
        query = "?" + urllib.parse.urlencode({"holder": arguments.holder}) if arguments.holder else ""
        lines = _ended(service.order("DELETE", f"/api/yield{query}", {}), arguments.holder)
    else:
        wishes = {
            "holder": arguments.holder or "command line",
            "for": arguments.seconds,
            "gpu": arguments.gpu,
            "because": arguments.because,
        }
        body = {key: value for key, value in wishes.items() if value is not None}
        lines = _begun(service.order("POST", "/api/yield", body))
    for line in lines:
        _say(line)
    return 0


def _begun(answer: Mapping[str, Any]) -> Iterator[str]:
    yield from yield_lines(answer["yields"])
    if before := answer.get("replaced"):
        yield f"  in place of what {before['holder']} asked for before: {terms_of(before)}"
    if answer["stopping"]:
        yield f"  stopped now: {', '.join(answer['stopping'])}"
    if answer["draining"]:
        yield f"  stopped when they are done, or after yield.drain: {', '.join(answer['draining'])}"
    if not answer["stopping"] and not answer["draining"]:
        yield "  no model is in the way"


def _ended(answer: Mapping[str, Any], holder: str | None) -> Iterator[str]:
    ended = ", ".join(answer["ended"])
    nothing = f"nothing was yielded to {holder}" if holder else "nothing was yielded"
    yield f"no longer yielded to {ended}" if ended else nothing
    for line in yield_lines(answer["yields"]):
        yield f"still {line}"


def _say(text: str) -> None:
    sys.stdout.write(printable(text) + "\n")
