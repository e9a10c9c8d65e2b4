"""From what was measured to what the scheduler is told: pools, who holds what in them, and what is not known."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from llama_swap.gpu import Device, Holding, MemoryKind, MemoryReading
from llama_swap.scheduler.events import MemoryMeasured
from llama_swap.scheduler.memory import HOST, PoolReading

ON_DEVICES_BYTES = 64 << 20
"""An instance with more than this on devices computes there; the file that it maps was only read on the way."""
_CUDA_UUIDS = ("GPU-", "MIG-")
_HIDDEN = "the memory of the machine is hidden from this service (/proc/meminfo)"

Sees = Callable[[Device], bool]


@dataclass(frozen=True, slots=True)
class HostUse:
    """What an instance has of the machine's memory.

    Attributes:
        held_bytes: what only its end gives back.
        needed_bytes: that, and the pages of the file that it maps where it computes with them.
    """

    held_bytes: int
    needed_bytes: int


def measured(reading: MemoryReading, sees: Sees = lambda _device: True, hidden: Collection[int] = ()) -> MemoryMeasured:
    """The event that a reading becomes.

    Args:
        reading: everything at one moment.
        sees: whether the processes that we start can use a device.
        hidden: the instances whose memory is not seen to be theirs.
    """
    devices = [device for device in reading.devices if sees(device)]
    pools = [pool for device in devices if (pool := _device_pool(device, reading)) is not None]
    unseen = frozenset(hidden)
    problems = [reading.problem, *(f"GPU {d.index}: {d.problem}" for d in devices if d.problem)]
    host = _host_pool(reading)
    if host is None:
        problems.append(_HIDDEN)
    return MemoryMeasured(
        reading.at,
        tuple(replace(pool, hidden=unseen) for pool in (*([] if host is None else [host]), *pools)),
        has_devices=any(device.vendor == "NVIDIA" and not device.problem for device in devices),
        problem="; ".join(problem for problem in problems if problem),
    )


def pool_of(device: Device) -> str:
    """The name of a device's pool: a UUID that CUDA_VISIBLE_DEVICES understands, else its number."""
    return device.uuid if device.uuid.startswith(_CUDA_UUIDS) else f"gpu{device.index}"


def room_of(event: MemoryMeasured, devices: Sequence[str] | None) -> int | None:
    """What all the devices together have that a command can use; None where there are none, or none is known.

    Args:
        event: what was measured.
        devices: as the command names them, by number or the beginning of a UUID; "*" or None are all.
    """
    pools = [pool for pool in event.pools if pool.pool != HOST]
    if devices is not None and "*" not in devices:
        pools = [p for p in pools if any(name == str(p.index) or p.pool.startswith(name) for name in devices)]
    return sum(pool.total_bytes for pool in pools) or None


def device_use(reading: MemoryReading, instance_id: int) -> dict[str, int]:
    """What an instance has on each device that has memory of its own and tells whose it is."""
    shares = reading.holdings[instance_id].device_bytes if instance_id in reading.holdings else {}
    return {
        pool_of(device): shares[device.index]
        for device in reading.devices
        if device.index in shares and device.memory_kind is MemoryKind.DEDICATED
    }


def device_room(reading: MemoryReading) -> dict[str, int]:
    """What is free of each device that has memory of its own."""
    devices = [device for device in reading.devices if device.memory_kind is MemoryKind.DEDICATED]
    return {pool_of(device): device.free_bytes for device in devices if device.free_bytes is not None}


def use_by_others(reading: MemoryReading) -> int | None:
    """What is used of devices and is not seen to be ours; None where no device has memory of its own."""
    devices = [device for device in reading.devices if device.memory_kind is MemoryKind.DEDICATED]
    if not devices:
        return None
    ours = (sum(h.device_bytes.get(device.index, 0) for h in reading.holdings.values()) for device in devices)
    return sum(max(0, _used(device) - held) for device, held in zip(devices, ours, strict=True))


def _used(device: Device) -> int:
    """0 where the driver does not say."""
    if device.used_bytes is not None or device.total_bytes is None or device.free_bytes is None:
        return device.used_bytes or 0
    return device.total_bytes - device.free_bytes


def host_use(reading: MemoryReading, instance_id: int) -> HostUse:
    """What an instance has of the machine's memory; devices without memory of their own take theirs from it."""
    holding = reading.holdings.get(instance_id, Holding())
    unified = {device.index for device in reading.devices if device.memory_kind is MemoryKind.UNIFIED}
    borrowed = sum(used for index, used in holding.device_bytes.items() if index in unified)
    held = holding.host.held_bytes + borrowed
    elsewhere = sum(used for index, used in holding.device_bytes.items() if index not in unified)
    is_known = all(device.index in holding.device_bytes for device in reading.devices)
    computes_here = is_known and elsewhere <= ON_DEVICES_BYTES
    return HostUse(held, max(held, holding.host.resident_bytes + borrowed) if computes_here else held)


def _device_pool(device: Device, reading: MemoryReading) -> PoolReading | None:
    """None for a device without memory of its own, and for one of which it is not known."""
    if device.problem or device.memory_kind is MemoryKind.UNIFIED:
        return None
    if device.total_bytes is None or device.free_bytes is None:
        return None
    held: Mapping[int, int] | None = None
    foreign = None
    used = _used(device)
    if reading.is_attributed(device):
        held = {instance: holding.device_bytes[device.index] for instance, holding in reading.holdings.items()}
        foreign = max(0, used - sum(held.values()))
    return PoolReading(
        pool_of(device),
        f"GPU {device.index} ({device.name})",
        device.index,
        used + device.free_bytes,  # the rest is the driver's for ever
        device.free_bytes,
        held,
        foreign_bytes=foreign,
        listed_bytes=reading.others.get(device.index),
    )


def _host_pool(reading: MemoryReading) -> PoolReading | None:
    if reading.host is None:
        return None
    uses = {instance: host_use(reading, instance) for instance in reading.holdings}
    used = reading.host.total_bytes - reading.host.available_bytes
    return PoolReading(
        HOST,
        "RAM",
        None,
        reading.host.total_bytes,
        reading.host.available_bytes,
        {instance: use.held_bytes for instance, use in uses.items()},
        {instance: use.needed_bytes for instance, use in uses.items() if use.needed_bytes > use.held_bytes},
        foreign_bytes=max(0, used - sum(use.held_bytes for use in uses.values())),
    )


def seen_by_children(visible: str | None) -> Sees:
    """Which devices the processes that we start can use, by the CUDA_VISIBLE_DEVICES that they inherit.

    Args:
        visible: its value: UUIDs, or the beginnings of some, or numbers; None where it is not set. A number is taken
            as NVML's, which is CUDA's with CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    if visible is None:
        return lambda _device: True
    names = [name.strip() for name in visible.split(",")]

    def sees(device: Device) -> bool:
        return device.vendor != "NVIDIA" or any(_names(name, device) for name in names)

    return sees


def _names(name: str, device: Device) -> bool:
    return name == str(device.index) or (name.startswith(_CUDA_UUIDS) and device.uuid.startswith(name))


def cuda_devices(devices: Sequence[str]) -> str:
    """The value of CUDA_VISIBLE_DEVICES that shows these pools and no others; "" where they have no UUIDs."""
    return ",".join(devices) if all(pool.startswith(_CUDA_UUIDS) for pool in devices) else ""
