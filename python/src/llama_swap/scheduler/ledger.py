"""What is known of memory between two readings, and what may be given out of it.

A reading says what is free. What instances that still load, or use less than they did before, may yet take of it is
taken off: ``available = free - sum(claim - held) - headroom``. Foreign programs and what the driver reserves need no
sum of their own, because they are missing from what is free. Where the driver does not answer, the last foreign use and
the claims alone have to do: ``total - foreign - sum(claims) - headroom``.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from llama_swap.scheduler.events import MemoryMeasured
from llama_swap.scheduler.instance import Instance
from llama_swap.scheduler.memory import HOST, Level, PoolReading, level_of

FRESH_SECONDS = 1.0
"""A model is started, or refused for want of memory, on a reading that began no longer ago than this."""

HELD_BYTES = 64 << 20
"""An instance that held no more than this of a device is not waited for: driver noise is of that size."""

RETURNED_SHARE = 0.75
"""Memory may be back when the free figure has risen by this part of what was held (as Ollama found by trial)."""


@dataclass(slots=True)
class Memory:
    """The latest readings, and which one is awaited.

    Attributes:
        pools: the last reading of each pool.
        foreign: pool -> what others used at the last good reading.
        at: when the last reading began; None before the first.
        received_at: when it was told.
        has_devices: a driver has answered once; it is not forgotten when the driver is reloaded.
        problem: why devices are missing or their figures are old.
        asked_at: when the outstanding reading was asked for; None without one.
        exited_at: when an instance exited last.
        first_at: when the first reading was told.
        valid_from: readings that began before do not show what is free now: something exited, became ready, or was
            waited for.
        is_after_exit: the last reading began after that.
        is_settling: somebody waits for the memory of what exited, although no instance is known to have left it.
        lag_seconds: how long the memory of the last exited instance took to come back.
        quiet: device -> foreign use when enough was free last, to see it grow; for the automatic yield.
    """

    pools: dict[str, PoolReading] = field(default_factory=dict)
    foreign: dict[str, int] = field(default_factory=dict)
    at: float | None = None
    received_at: float = 0.0
    has_devices: bool = False
    problem: str = ""
    asked_at: float | None = None
    exited_at: float | None = None
    first_at: float | None = None
    valid_from: float | None = None
    is_after_exit: bool = True
    is_settling: bool = False
    lag_seconds: float | None = None
    quiet: dict[str, int] = field(default_factory=dict)

    def copy(self) -> "Memory":
        """An independent copy."""
        return replace(self, pools=dict(self.pools), foreign=dict(self.foreign), quiet=dict(self.quiet))

    def is_settled(self, now: float, seconds: float) -> bool:
        """Whether the last exit is so long ago that what others use is not ours on its way back.

        The first reading counts as an exit: what ran before a restart of the service may just have been ended.
        """
        return not any(at is not None and now < at + seconds for at in (self.first_at, self.exited_at))

    def expire(self, now: float) -> None:
        """From now on only a reading that begins later says what is free."""
        self.valid_from, self.is_after_exit = now, False

    @property
    def devices(self) -> tuple[str, ...]:
        """The pools that are devices, by number."""
        return tuple(pool for pool in self.pools if pool != HOST)

    def is_fresh(self, now: float) -> bool:
        """Whether the last reading is good enough to act on.

        The answer that comes in this very moment always is, however long it took: a slow driver must not make the
        scheduler ask for ever. It has to have begun after the last exit in any case.
        """
        if self.at is None:
            return False
        if self.problem:
            return now - self.received_at < FRESH_SECONDS
        return self.is_after_exit and (self.received_at == now or now - self.at < FRESH_SECONDS)

    def knows(self, pool: PoolReading) -> bool:
        """Whether the figures of a pool are what they are now."""
        return pool.pool == HOST or not self.problem

    def take(self, event: MemoryMeasured, now: float, instances: Collection[Instance]) -> None:
        """Note a reading; one that began before the last is late and tells nothing but that it came."""
        self.asked_at = None
        self.has_devices |= event.has_devices
        if self.at is not None and event.at < self.at:
            return
        if self.first_at is None:
            self.first_at = now
        self.at, self.received_at, self.problem = event.at, now, event.problem
        self.is_after_exit = self.valid_from is None or event.at >= self.valid_from
        new = {reading.pool: reading for reading in event.pools}
        self.pools = {**self.pools, **new} if event.problem else new
        for reading in new.values():
            if self.knows(reading):
                self.foreign[reading.pool] = foreign_of(reading, instances)

    def available(self, pool: str, instances: Iterable[Instance], headroom: int) -> int:
        """What may be given out of a pool now, without anybody leaving; negative where more was promised."""
        reading = self.pools[pool]
        if not self.knows(reading):
            claimed = sum(instance.claims.of(pool) for instance in instances)
            return reading.total_bytes - self.foreign.get(pool, 0) - claimed - headroom
        outstanding = sum(outstanding_of(instance, reading) for instance in instances)
        return reading.free_bytes - outstanding - headroom


def outstanding_of(instance: Instance, reading: PoolReading) -> int:
    """What an instance may still take of what a reading calls free."""
    claims = instance.claims
    if claims.last is not None:
        return 0
    if _tells(reading, instance):
        return max(0, claims.of(reading.pool) - claims.held.get(reading.pool, 0))
    # Nobody says what it has: from ready on it is taken to have all that was promised.
    return 0 if instance.is_looked_at else claims.of(reading.pool)


def _tells(reading: PoolReading, instance: Instance) -> bool:
    """Whether a reading says what an instance has."""
    return reading.held is not None and instance.instance_id not in reading.hidden


def foreign_of(reading: PoolReading, instances: Iterable[Instance]) -> int:
    """What others use of a pool; where the driver does not say, all that no instance accounts for."""
    if reading.foreign_bytes is not None:
        hidden = [i for i in instances if i.instance_id in reading.hidden and i.claims.last is None]
        return max(0, reading.foreign_bytes - sum(i.claims.of(reading.pool) for i in hidden))
    used = reading.total_bytes - reading.free_bytes
    ours = sum(i.claims.of(reading.pool) - outstanding_of(i, reading) for i in instances)
    return max(0, used - ours)


def note_held(instance: Instance, reading: PoolReading) -> None:
    """Note what an instance holds by a reading."""
    if reading.held is None or instance.claims.last is not None or not _tells(reading, instance):
        return
    claims, pool = instance.claims, reading.pool
    held = reading.held.get(instance.instance_id, 0)
    # A reading that began before an exit may look at the processes after it: one fall alone is not believed.
    before = claims.held.get(pool, 0)
    if held + HELD_BYTES < before:
        claims.fallen[pool] = (before, claims.levels[pool])
    else:
        claims.fallen.pop(pool, None)
    claims.held[pool], claims.levels[pool] = held, level_of(reading)
    claims.peak[pool] = max(claims.peak.get(pool, 0), held, reading.footprints.get(instance.instance_id, 0))
    if instance.is_looked_at:
        claims.measured |= {pool}


def part(instance: Instance, memory: Memory) -> bool:
    """Note what an exited instance leaves behind; whether its memory has to be waited for.

    Where no reading shows it at work - it was gone too soon, or memory is seldom read - what was free or ours before
    its start says when all is back.
    """
    left = {}
    for pool in memory.devices if instance.spec.devices != () else ():
        held, level = _left_at_exit(instance, memory, pool)
        if not instance.is_looked_at and pool in instance.before and _tells(memory.pools[pool], instance):
            likely = max(held, instance.claims.reserved.get(pool, 0))
            instance.roof[pool] = _below(instance.before[pool], max(HELD_BYTES, int((1 - RETURNED_SHARE) * likely)))
            left[pool] = held
        elif held > HELD_BYTES:
            instance.roof[pool] = _below(level, int((1 - RETURNED_SHARE) * held))
            left[pool] = held
    instance.claims.last = left
    return bool(left)


def _below(level: Level, less_bytes: int) -> Level:
    return level._replace(unused_bytes=level.unused_bytes - less_bytes)


def _left_at_exit(instance: Instance, memory: Memory, pool: str) -> tuple[int, Level]:
    """What an instance held last, and how full the device is once that is back."""
    reading, claims = memory.pools[pool], instance.claims
    if _tells(reading, instance):
        return claims.fallen.get(pool) or (claims.held.get(pool, 0), level_of(reading))
    held = claims.of(pool) - outstanding_of(instance, reading)
    return held, _below(level_of(reading), -held)


def watch_return(instance: Instance, readings: Mapping[str, PoolReading]) -> bool:
    """Note how much memory is back by a reading that began after an exit; whether that is all there will be.

    Nobody holds it, most of it is free, and either all of it is or it does not rise any more: drivers keep some,
    and give back little by little. What others took meanwhile counts as risen, be they of ours or listed by the driver,
    so neither a neighbour that loads nor a game that starts hides anything.
    """
    is_back = True
    for pool, level in instance.roof.items():
        reading = readings.get(pool)
        if reading is None or instance.instance_id in (reading.held or {}):
            return False
        seen, before = level.unused_since(reading), instance.risen.get(pool)
        instance.risen[pool] = seen
        whole = level.unused_bytes + int((1 - RETURNED_SHARE) * (instance.claims.last or {}).get(pool, 0))
        is_rising = before is None or seen > before + HELD_BYTES
        is_back &= seen >= level.unused_bytes and (seen + HELD_BYTES >= whole or not is_rising)
    return is_back
