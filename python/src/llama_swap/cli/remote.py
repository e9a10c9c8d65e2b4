"""Commands that talk to a running service: ps, load, unload, logs, story, explain."""

import argparse
import http.client
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llama_swap.cli.client import ClientError, Service, path_of
from llama_swap.cli.memory import account_lines, claims, footer
from llama_swap.cli.text import duration, printable, remaining, table

_CHUNK_BYTES: Final = 64 * 1024
_OUTCOMES: Final = {
    "served": "{model} is ready and serves at once",
    "starts": "{model} starts at once",
    "evicts": "{model} starts as soon as others are stopped",
    "waits": "{model} has to wait",
    "refused": "a request for {model} is refused",
    "peer": "{model} is served by a peer",
}
_PS_TITLES: Final = (
    *("MODEL", "STATE", "FOR", "IN SERVICE", "WAITING", "UNLOADS IN", "PINNED", "MEMORY", "PORT", "PID", "REASON"),
)


def ps(arguments: argparse.Namespace) -> int:
    """List the models with what they do, and the memory that they share."""
    service = Service.at(arguments.url)
    status: Mapping[str, Any] = {}
    try:
        status = service.get("/api/status")
        models = status["models"]
    except ClientError as error:
        if error.status != http.client.NOT_FOUND:
            raise
        # The original llama-swap, or one before this route: it knows only what runs.
        models = [{**row, "id": row["model"]} for row in service.get("/running")["running"]]
    sys.stdout.write(table(_PS_TITLES, [_ps_row(model) for model in models]) if models else "no models\n")
    for line in footer(status):
        _say(line)
    return 0


def load(arguments: argparse.Namespace) -> int:
    """Load a model; done when it is ready."""
    began = time.monotonic()
    body = {} if arguments.keep_alive is None else {"keep_alive": arguments.keep_alive}
    path = path_of("api", "models", "load", arguments.model)
    answer = Service.at(arguments.url).order("POST", path, body, timeout_seconds=arguments.wait)
    _say(f"{arguments.model} is ready ({time.monotonic() - began:.1f} s){_stay(answer.get('keep_alive_seconds'))}")
    return 0


def _stay(seconds: float | None) -> str:
    """What came of ``--keep-alive``: the service may allow less than was asked for."""
    if seconds is None:
        return ""
    return "; it stays until it has to leave" if seconds < 0 else f"; it stays for {duration(seconds)} when idle"


def unload(arguments: argparse.Namespace) -> int:
    """Unload a model or all; done when the processes are gone."""
    model = arguments.model
    Service.at(arguments.url).post(path_of("api", "models", "unload", *([model] if model else [])))
    _say(f"unloaded {model or 'all models'}")
    return 0


def logs(arguments: argparse.Namespace) -> int:
    """Copy a log to stdout, as it is."""
    path = path_of("logs", "stream", *([arguments.monitor] if arguments.monitor else []))
    if not arguments.follow:
        path += "?no-follow"
    output = sys.stdout.buffer
    with Service.at(arguments.url).open("GET", path, timeout_seconds=None) as response:
        while chunk := response.read1(_CHUNK_BYTES):
            output.write(chunk)
            output.flush()
    return 0


def story(arguments: argparse.Namespace) -> int:
    """List the events and decisions about a model, oldest first, with seconds since the first."""
    entries = Service.at(arguments.url).get(path_of("api", "story", arguments.model))["entries"]
    if not entries:
        _say(f"nothing has happened to {arguments.model} yet")
        return 0
    first = entries[0]["at_seconds"]
    rows = [(f"{entry['at_seconds'] - first:+.3f}", str(entry["kind"]), str(entry["text"])) for entry in entries]
    sys.stdout.write(table(("SECONDS", "KIND", "WHAT"), rows))
    return 0


def explain(arguments: argparse.Namespace) -> int:
    """Say what a request for a model would lead to now."""
    answer = Service.at(arguments.url).get(path_of("api", "explain", arguments.model))
    for line in _explained(answer):
        _say(line)
    return 0


def _explained(answer: Mapping[str, Any]) -> Iterator[str]:
    model = answer["model"]
    if answer["selector"]:
        yield f"selector {answer['selector']} stands for {model}"
    yield _OUTCOMES[answer["outcome"]].format(model=model)
    for victim in answer["would_stop"]:
        cost = victim.get("cost")
        yield f"  stops {victim['model']}: {victim['because']}{f' (cost {cost:.1f})' if cost is not None else ''}"
    if answer["waits_for"]:
        yield f"  waits for: {answer['waits_for']} (position {answer['position']})"
    account = answer.get("memory")
    if account:
        yield from account_lines(account)
    rule = answer["rule"]
    if rule and rule["kind"] != "fit":
        cost = f", cost {rule['cost']}" if rule["cost"] is not None else ""
        yield f"  by the rule of {rule['kind']} {rule['name'] or '(none: it runs alone)'}: {rule['text']}{cost}"
    if refusal := answer["refusal"]:
        # The message of one that does not fit is the sum that stands above it.
        message = "not even if everybody leaves that may" if account and not account["fits"] else refusal["message"]
        yield f"  {refusal['reason']}: {message}"


def _ps_row(model: Mapping[str, Any]) -> tuple[str, ...]:
    state = str(model.get("state", ""))
    # Why it is as it is; for a model that does not run, why the last try failed.
    reason = model.get("because") or model.get("last_error") or ""
    if next_try := model.get("next_try_in_seconds"):
        reason = f"next try in {remaining(next_try)}: {reason}"
    return (
        str(model["id"]),
        state,
        duration(model.get("since_seconds")),
        _count(model.get("in_service")),
        _count(model.get("waiting")),
        remaining(model.get("unload_in_seconds")),
        "yes" if model.get("pinned") else "",
        claims(model),
        _count(model.get("port")),
        _count(model.get("pid")),
        str(reason).partition("\n")[0],
    )


def _count(number: int | None) -> str:
    return str(number) if number else ""


def _say(text: str) -> None:
    sys.stdout.write(printable(text) + "\n")
