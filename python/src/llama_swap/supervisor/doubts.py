"""What a configuration says of memory that cannot be meant on this machine; known only once that is measured."""

from collections.abc import Iterator

from llama_swap.config import Config
from llama_swap.scheduler.events import MemoryMeasured
from llama_swap.scheduler.memory import HOST, PoolReading
from llama_swap.supervisor.ports import Observer

_GIB = 1 << 30


class Doubts:
    """Says each doubt once, and again when it was gone meanwhile."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._told: frozenset[tuple[str, str]] = frozenset()

    def weigh(self, config: Config, event: MemoryMeasured) -> None:
        """Compare a configuration with a reading; one with a problem lacks devices that there may be."""
        if event.problem:
            return
        found = frozenset((*_dead_pools(config, event), *_missing_devices(config, event)))
        for model, text in sorted(found - self._told):
            self._observer.noticed(model, text)
        self._told = found


def _dead_pools(config: Config, event: MemoryMeasured) -> Iterator[tuple[str, str]]:
    """Of which so much is to stay free that no model gets any."""
    for pool in event.pools:
        kept, key = config.scheduler.kept_free(pool.pool)
        if kept and pool.total_bytes <= kept:
            has = f"{pool.label} has {pool.total_bytes / _GIB:.1f} GiB"
            yield "", f"{has}, and {kept / _GIB:.1f} GiB are to stay free ({key}): no model can use it"


def _missing_devices(config: Config, event: MemoryMeasured) -> Iterator[tuple[str, str]]:
    """That a declared need names."""
    devices = [pool for pool in event.pools if pool.pool != HOST]
    for model in config.models.values() if devices else ():
        missing = [name for name in model.vram_by_device if not any(_is_named(name, pool) for pool in devices)]
        if missing:
            there = ", ".join(str(pool.index) for pool in devices)
            what = f"vram names device {', '.join(missing)}, and there is {there}"
            yield model.id, f"{what}: only the sum counts, and the model is put where there is room"


def _is_named(name: str, pool: PoolReading) -> bool:
    return name == str(pool.index) or ("-" in name and pool.pool.startswith(name))
