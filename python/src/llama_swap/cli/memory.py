"""What memory has to do with it, in words: the pools below ``ps``, the sum below ``explain``."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from llama_swap.cli.text import duration, remaining, size, table

# The service looks before it answers; older figures are shown only where it could not.
_OLD_SECONDS: Final = 5
_POOL_TITLES: Final = ("MEMORY", "TOTAL", "FREE", "MODELS", "OTHERS", "AVAILABLE")


def claims(model: Mapping[str, Any]) -> str:
    """What a model holds or may still take: ``GPU 0 18.0 GiB, host 1.0 GiB``."""
    return ", ".join(
        f"{claim['label']} {size(claim['bytes'])}" for claim in model.get("memory") or () if claim["bytes"]
    )


def footer(status: Mapping[str, Any]) -> Iterator[str]:
    """Lines for below the table of models: the pools, who yields, and what is wrong with the figures."""
    memory = status.get("memory") or {}
    if pools := memory.get("pools"):
        yield ""
        yield from table(_POOL_TITLES, [_pool_row(pool) for pool in pools]).splitlines()
    notes = [*yield_lines(status.get("yields", ()))]
    if (age := memory.get("age_seconds") or 0) > _OLD_SECONDS:
        notes.append(f"memory: these figures are {duration(age)} old")
    if memory.get("problem"):
        notes.append(f"memory: {memory['problem']}")
    if router := status.get("router"):
        notes.append(f"router: {router}")
    if notes:
        yield ""
        yield from notes


def _pool_row(pool: Mapping[str, Any]) -> tuple[str, ...]:
    sizes = ("total_bytes", "free_bytes", "promised_bytes", "foreign_bytes", "available_bytes")
    return (str(pool["label"]), *(size(pool[key]) for key in sizes))


def yield_lines(yields: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Who has which devices, for how long and why."""
    for held in yields:
        yield f"yielded to {held['holder']}: {terms_of(held)}"


def terms_of(held: Mapping[str, Any]) -> str:
    """Which devices, for how long and why."""
    devices = ", ".join(device["label"] for device in held["devices"]) or "all devices"
    left = held["seconds_left"]
    until = f"for {remaining(left)} more" if left is not None else "until it ends"
    return f"{devices}, {until}" + (f": {held['because']}" if held["because"] else "")


def account_lines(account: Mapping[str, Any]) -> Iterator[str]:
    """The sum behind a decision by memory: the need, each pool, and where it goes."""
    need = account["need"]
    if need["source"] == "unknown" and account.get("fits", True):
        reasons = "".join(f" ({part['what']})" for part in need["parts"])
        yield f"  nobody knows what it needs{reasons}: it runs alone the first time"
    for line in account["lines"]:
        yield f"  {line}"
    if account["devices"]:
        yield f"  goes to {' and '.join(device['label'] for device in account['devices'])}"
    if need["load_seconds"]:
        ahead = need.get("ahead_seconds")
        gain = f", {ahead:.1f} s when its file was read ahead" if ahead not in (None, need["load_seconds"]) else ""
        yield f"  took {need['load_seconds']:.1f} s to load lately{gain}"
