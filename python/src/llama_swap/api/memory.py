"""The scheduler's account of memory as JSON: pools, claims, yields, needs."""

import math
from collections.abc import Iterable
from typing import Any

from llama_swap.scheduler.explain import MemoryAccount
from llama_swap.scheduler.memory import Need
from llama_swap.scheduler.snapshot import InstanceView, PoolView, Snapshot, YieldView


def memory_as_json(snapshot: Snapshot) -> dict[str, Any]:
    """The pools as they were measured last, and what is wrong with that; sizes in bytes."""
    return {
        "pools": [_pool(view) for view in snapshot.pools],
        "problem": snapshot.memory_problem,
        "release_lag_seconds": snapshot.release_lag_seconds,
    }


def _pool(view: PoolView) -> dict[str, Any]:
    return {
        "pool": view.pool,
        "label": view.label,
        "index": view.index,
        "total_bytes": view.total_bytes,
        "free_bytes": view.free_bytes,
        "promised_bytes": view.promised_bytes,
        "available_bytes": view.available_bytes,
        "foreign_bytes": view.foreign_bytes,
    }


def claims_as_json(snapshot: Snapshot, instance: InstanceView) -> list[dict[str, Any]]:
    """What an instance holds or may still take, pool by pool; [] where nothing is known."""
    names = {view.pool: short_label(view) for view in snapshot.pools}
    return [{"pool": pool, "label": names.get(pool, pool), "bytes": size} for pool, size in instance.claims.items()]


def short_label(view: PoolView) -> str:
    """The number of a device, as in ``--gpu 0``; the machine's memory is the host."""
    return view.pool if view.index is None else f"GPU {view.index}"


def yields_as_json(yields: Iterable[YieldView], now: float) -> list[dict[str, Any]]:
    """What is left to other programs; no devices are all, no seconds are until somebody ends it."""
    return [
        {
            "holder": view.holder,
            "devices": list(view.devices),
            "seconds_left": None if view.until is None else round(max(0.0, view.until - now), 3),
            "because": view.because,
        }
        for view in yields
    ]


def account_as_json(account: MemoryAccount) -> dict[str, Any]:
    """The sum behind a decision by memory."""
    return {
        "need": _need(account.need),
        "devices": list(account.devices),
        "lines": list(account.lines),
        "fits": account.fits,
    }


def _need(need: Need) -> dict[str, Any]:
    return {
        "source": need.source.value,
        "device_bytes": need.device_bytes,
        "host_bytes": need.host_bytes,
        "by_device": dict(need.by_device),
        "parts": [{"what": what, "bytes": size} for what, size in need.parts],
        "load_seconds": need.load_seconds,
    }


def seconds_as_json(seconds: float | None) -> float | int | None:
    """Whole seconds as an integer; for ever is -1, as in ``keep_alive``, since JSON has no infinity."""
    if seconds is None or math.isfinite(seconds):
        return int(seconds) if seconds is not None and seconds == int(seconds) else seconds
    return -1
