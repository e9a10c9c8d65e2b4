"""The scheduler's account of memory as JSON: pools, claims, yields, needs."""

import math
from collections.abc import Iterable
from typing import Any

from llama_swap.scheduler.explain import MemoryAccount
from llama_swap.scheduler.memory import Need
from llama_swap.scheduler.snapshot import InstanceView, PoolView, Snapshot


def memory_as_json(snapshot: Snapshot) -> dict[str, Any]:
    """The pools as they were measured last, how long ago that was, and what is wrong with it; sizes in bytes."""
    at = snapshot.measured_at
    return {
        "pools": [_pool(view) for view in snapshot.pools],
        "age_seconds": None if at is None else round(max(0.0, snapshot.at - at), 3),
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
    return [_named(snapshot, pool) | {"bytes": size} for pool, size in instance.claims.items()]


def devices_as_json(snapshot: Snapshot, pools: Iterable[str]) -> list[dict[str, str]]:
    """Devices with what people call them."""
    return [_named(snapshot, pool) for pool in pools]


def _named(snapshot: Snapshot, pool: str) -> dict[str, Any]:
    """A pool, and the number of the device as in ``--gpu 0``; the machine's own memory is the host."""
    view = next((view for view in snapshot.pools if pool in {view.pool, str(view.index)}), None)
    return {"pool": pool, "label": pool if view is None or view.index is None else f"GPU {view.index}"}


def yields_as_json(snapshot: Snapshot) -> list[dict[str, Any]]:
    """What is left to other programs; no devices are all, no seconds are until somebody ends it."""
    return [
        {
            "holder": view.holder,
            "devices": devices_as_json(snapshot, view.devices),
            "seconds_left": None if view.until is None else round(max(0.0, view.until - snapshot.at), 3),
            "because": view.because,
        }
        for view in snapshot.yields
    ]


def account_as_json(snapshot: Snapshot, account: MemoryAccount) -> dict[str, Any]:
    """The sum behind a decision by memory."""
    return {
        "need": _need(account.need),
        "devices": devices_as_json(snapshot, account.devices),
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
        "ahead_seconds": need.ahead_seconds,
    }


def seconds_as_json(seconds: float | None) -> float | int | None:
    """Whole seconds as an integer; for ever is -1, as in ``keep_alive``, since JSON has no infinity."""
    if seconds is None or math.isfinite(seconds):
        return int(seconds) if seconds is not None and seconds == int(seconds) else seconds
    return -1
