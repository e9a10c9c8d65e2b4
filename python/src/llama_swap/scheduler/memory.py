"""What is known about memory: readings of the pools it is in, and what models need; frozen data, in bytes.

A *pool* is memory that is given out as a whole: a device of its own memory, or the memory of the machine (the host).
Models that compute on a device without memory of its own (integrated GPUs, NVIDIA GB10) take theirs from the host.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

HOST = "host"
"""The pool of the machine's own memory."""


class NeedSource(StrEnum):
    """Where the figure comes from, the best first."""

    LEARNED = "learned"  # the peak that was measured while it ran
    DECLARED = "declared"  # `vram`, `ram` in the configuration
    ASKED = "asked"  # llama.cpp's own answer (llama-fit-params)
    ESTIMATED = "estimated"  # from the header of its GGUF file
    UNKNOWN = "unknown"  # nothing is known: it runs alone the first time


@dataclass(frozen=True, slots=True)
class Need:
    """The memory that an instance of a model will take.

    Attributes:
        device_bytes: over all devices together; 0 is a model that uses none.
        host_bytes: of the machine's memory; for a model that computes on the CPU with the file it maps.
        by_device: device (UUID, or its number) -> bytes, where the division is known; else {}.
        per_device_bytes: what each further device costs when it is split (context and buffers of the driver).
        parts: of what the sum consists, (what, bytes), for people.
        load_seconds: from start to ready as learned; None where it never ran.
        ahead_seconds: the same where its file was read ahead; None where that was never so.
        added_bytes, added_host_bytes: of ``device_bytes`` and ``host_bytes``, what a run that ran out of memory added;
            less will do where so much is not to be had.
        least_bytes: of one that makes itself smaller where memory is short (llama-server with ``--fit``), what it
            cannot run below on devices; the rest is a wish. None is one that takes what it takes.
        too_few_bytes: of one whose need is unknown, what it had of devices when it ran out of memory alone.
    """

    source: NeedSource
    device_bytes: int = 0
    host_bytes: int = 0
    by_device: Mapping[str, int] = field(default_factory=dict)
    per_device_bytes: int = 0
    parts: tuple[tuple[str, int], ...] = ()
    load_seconds: float | None = None
    added_bytes: int = 0
    added_host_bytes: int = 0
    least_bytes: int | None = None
    ahead_seconds: float | None = None
    too_few_bytes: int = 0

    @property
    def floor_bytes(self) -> int:
        """What it cannot run below on devices, where that is known and not all of ``device_bytes``; else 0."""
        if self.least_bytes is not None:
            return self.least_bytes
        return self.too_few_bytes + 1 if self.too_few_bytes else 0

    @property
    def least(self) -> "Need":
        """Without what was added because memory ran out: that may have had another cause."""
        if not self.added_bytes and not self.added_host_bytes:
            return self
        device = self.device_bytes - self.added_bytes
        return replace(
            self,
            device_bytes=device,
            host_bytes=self.host_bytes - self.added_host_bytes,
            by_device={name: size * device // (self.device_bytes or 1) for name, size in self.by_device.items()},
            added_bytes=0,
            added_host_bytes=0,
        )


UNKNOWN_NEED = Need(NeedSource.UNKNOWN)


@dataclass(frozen=True, slots=True)
class PoolReading:
    """One pool as it was measured.

    Attributes:
        pool: ``HOST``, or the UUID of a device (``gpu0`` where it has none).
        label: for people, as ``GPU 0 (NVIDIA GeForce RTX 3090)``.
        index: the number of the device, as in ``--gpu 0``; None for the host.
        free_bytes: what the driver or the kernel would give out now.
        held: instance ID -> bytes that its processes keep from being free; None where nobody knows who has what.
        footprints: instance ID -> bytes that it would need here again, where that is more than what it holds (on the
            host: the file it maps counts as free and is still needed); missing ones are as in ``held``.
        foreign_bytes: what others use: used minus ours; None where that is unknown.
        hidden: the instances that have memory which is not seen to be theirs, as in containers without a name; what
            they have is part of what others use.
        listed_bytes: what the driver lists with other processes that live; less than what others use by all that it
            keeps for itself or has not cleaned up yet. None where it does not tell of all of them.
    """

    pool: str
    label: str
    index: int | None
    total_bytes: int
    free_bytes: int
    held: Mapping[int, int] | None = None
    footprints: Mapping[int, int] = field(default_factory=dict)
    foreign_bytes: int | None = None
    hidden: frozenset[int] = frozenset()
    listed_bytes: int | None = None


class Level(NamedTuple):
    """How full a pool was at some time.

    Attributes:
        unused_bytes: what others do not use, where the driver says who has what; else what is free.
        listed_bytes: as in the reading; what is listed with a hidden instance makes what others take look less.
    """

    unused_bytes: int
    listed_bytes: int | None

    def unused_since(self, reading: PoolReading) -> int:
        """What others do not use by a reading, or took since then: none of that is anybody else's to give back."""
        now = level_of(reading)
        if self.listed_bytes is None or now.listed_bytes is None:
            return now.unused_bytes
        return now.unused_bytes + max(0, now.listed_bytes - self.listed_bytes)


def level_of(reading: PoolReading) -> Level:
    """How full a pool is by a reading."""
    return Level(reading.free_bytes + sum((reading.held or {}).values()), reading.listed_bytes)
