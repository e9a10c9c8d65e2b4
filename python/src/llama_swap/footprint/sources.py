"""A need from each source: what was learnt, what is declared, what llama.cpp answered; and what all of them lack."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from llama_swap.footprint.estimate import DEVICE_CONTEXT_BYTES, MIB, PROGRAM_BYTES, Part
from llama_swap.footprint.facts import ModelFacts
from llama_swap.footprint.files import Invocation
from llama_swap.footprint.learned import AskedDevice, Learned, Peak
from llama_swap.scheduler.memory import Need, NeedSource

SAME_SHARE = 0.9
"""A run that took this share of what it was thought to want was not made smaller by ``--fit``."""
WHOLE_SHARE = 0.75
"""A run of one that wants more than there is had not to make do with the rest of others if it took this of all."""
MOST_SHARE = 0.95
"""Of the memory of all devices; the rest is what drivers keep and what shall stay free."""
_BETTER_ON_THE_HOST = (NeedSource.LEARNED, NeedSource.DECLARED)


def from_learned(facts: ModelFacts, learned: Learned) -> Need:
    """The peak: of one device where there was such a run, as it says nothing else about the division."""
    host = learned.host_bytes
    by_count = {int(count): peak for count, peak in learned.peaks.items()}
    if not by_count:
        return Need(NeedSource.LEARNED, host_bytes=host, parts=(("the most it took of the machine's memory", host),))
    fewest = min(by_count)
    named = facts.devices
    chosen = by_count[max(by_count) if named == ("*",) else len(named) if named and len(named) in by_count else fewest]
    each = DEVICE_CONTEXT_BYTES
    if (most := max(by_count)) > fewest:
        each = max((by_count[most].total_bytes - by_count[fewest].total_bytes) // (most - fewest), each // 2)
    total = chosen.total_bytes if named is not None else chosen.total_bytes - each * (fewest - 1)
    return Need(
        NeedSource.LEARNED,
        device_bytes=max(total, 0),
        host_bytes=host,
        by_device=chosen.by_device if named is not None else {},
        per_device_bytes=each,
        parts=((_where(chosen), chosen.total_bytes), ("of the machine's memory", host)),
    )


def _where(peak: Peak) -> str:
    """The most on so many devices; on one it would need what each further one costs less."""
    count = len(peak.by_device)
    return "the most it took while it ran" if count == 1 else f"the most it took, on {count} devices"


def from_declared(facts: ModelFacts, guess: Need | None) -> Need:
    """What the configuration says; what it does not say is taken from the estimate."""
    device = facts.vram_bytes if facts.vram_bytes is not None else sum(facts.vram_by_device.values())
    host = facts.ram_bytes if facts.ram_bytes is not None else guess.host_bytes if guess else 0
    whole = device if guess is None else min(guess.per_device_bytes, device)
    return Need(
        NeedSource.DECLARED,
        device_bytes=device,
        host_bytes=host,
        by_device=dict(facts.vram_by_device),
        per_device_bytes=0 if guess is None else whole,
        parts=(("vram", device), ("ram" if facts.ram_bytes is not None else "ram, estimated", host)),
    )


def with_declared_host(facts: ModelFacts, need: Need) -> Need:
    """What the configuration says of the machine's memory alone, in place of what was worked out of it."""
    if facts.ram_bytes is None or facts.ram_bytes == need.host_bytes or need.source in _BETTER_ON_THE_HOST:
        return need
    told = ("ram, declared", facts.ram_bytes)
    return replace(need, host_bytes=facts.ram_bytes, parts=(*_of_devices(need), told))


def _of_devices(need: Need) -> Iterator[tuple[str, int]]:
    """The parts on devices, which come first, and remarks without a size."""
    left = need.device_bytes
    for what, size in need.parts:
        if size <= left:
            yield what, size
            left -= size


def from_asked(facts: ModelFacts, invocation: Invocation, answer: tuple[AskedDevice, ...], more: list[Part]) -> Need:
    """llama.cpp's sums, and what it does not count: the driver's own, the projector, the draft model, adapters."""
    *devices, host = answer
    used = [device for device in devices if device.total_bytes]
    compute = max((device.compute_bytes for device in used), default=0)
    parts = [
        ("weights", sum(device.model_bytes for device in used)),
        ("context", sum(device.context_bytes for device in used)),
        ("scratch", sum(device.compute_bytes for device in used)),
        *((part.what, part.split.device) for part in more),
        ("the driver's own", DEVICE_CONTEXT_BYTES * len(used)),
    ]
    # Mapped weights that are all on a device are only read through, see memory_use.weights_of.
    weights = host.model_bytes if not used or invocation.options.unmapped else _used_on_host(invocation, host)
    on_host = weights + host.context_bytes + host.compute_bytes + PROGRAM_BYTES + sum(part.split.host for part in more)
    each = {}
    if facts.devices and len(facts.devices) == len(used):
        each = {
            name: device.total_bytes + DEVICE_CONTEXT_BYTES for name, device in zip(facts.devices, used, strict=True)
        }
    return Need(
        NeedSource.ASKED,
        device_bytes=sum(size for _, size in parts),
        host_bytes=on_host,
        by_device=each if not more else {},
        per_device_bytes=DEVICE_CONTEXT_BYTES + compute,
        parts=(*((what, size) for what, size in parts if size), ("the host's share", on_host)),
    )


def _used_on_host(invocation: Invocation, host: AskedDevice) -> int:
    options = invocation.options
    partly = options.gpu_layers is not None or options.overrides or options.cpu_moe_layers or options.cpu_ffn_layers
    return host.model_bytes if partly else 0


def on_named_devices(facts: ModelFacts, need: Need) -> Need:
    """A figure for one device, on the one that the command names."""
    if need.source is NeedSource.UNKNOWN or need.by_device or not facts.devices or facts.devices == ("*",):
        return need
    return replace(need, by_device={facts.devices[0]: need.device_bytes}) if len(facts.devices) == 1 else need


def adaptable(  # noqa: PLR0913 - all that its plan depends on
    invocation: Invocation,
    wanted: Need,
    seen: Need | None,
    most_bytes: int | None,
    least_bytes: int,
    *,
    kept_bytes: int = 0,
) -> Need:
    """For a llama-server that makes itself smaller where memory is short.

    It shall get what it wants, not what it had to make do with once; and it wants some more to stay free, of which
    ``kept_bytes`` are in any case. All that is a wish: it runs with ``least_bytes`` on devices, too.
    """
    if wanted.source is NeedSource.UNKNOWN:
        return wanted if seen is None else down_to(least_bytes, seen)
    if not wanted.device_bytes:
        return seen or wanted
    target = invocation.options.fit_target_mib * MIB
    if most_bytes is not None and wanted.device_bytes + target > MOST_SHARE * most_bytes:
        if seen is not None and seen.device_bytes + target >= WHOLE_SHARE * most_bytes:
            return down_to(least_bytes, seen)
        text = "it wants more than there is and makes itself smaller to fit"
        return Need(NeedSource.UNKNOWN, parts=((text, 0),), least_bytes=least_bytes)
    if seen is not None and seen.device_bytes >= SAME_SHARE * wanted.device_bytes:
        wanted = seen
    margin = max(0, target - kept_bytes)
    more = replace(
        wanted,
        device_bytes=wanted.device_bytes + margin,
        by_device=_each_raised(wanted.by_device, margin),
        per_device_bytes=wanted.per_device_bytes + margin,
        parts=(*wanted.parts, *([("left free by --fit", margin)] if margin else [])),
    )
    return down_to(least_bytes, more)


def down_to(least_bytes: int, need: Need) -> Need:
    """A need that is a wish down to so many bytes on devices."""
    on_devices = need.device_bytes or sum(need.by_device.values())
    return replace(need, least_bytes=min(least_bytes, on_devices)) if on_devices else need


def _each_raised(by_device: Mapping[str, int], more: int) -> Mapping[str, int]:
    return {device: size + more for device, size in by_device.items()}


def with_floor(need: Need, learned: Learned) -> Need:
    """Not less than what a run that had too little would have needed."""
    if need.source is NeedSource.UNKNOWN and need.least_bytes is None and learned.floor_bytes:
        return replace(need, too_few_bytes=learned.floor_bytes)
    device = max(learned.floor_bytes - need.device_bytes, 0)
    host = max(learned.floor_host_bytes - need.host_bytes, 0)
    if need.source is NeedSource.UNKNOWN or not device + host:
        return need
    share = need.device_bytes or 1
    return replace(
        need,
        device_bytes=need.device_bytes + device,
        host_bytes=need.host_bytes + host,
        by_device={name: size + device * size // share for name, size in need.by_device.items()},
        parts=(*need.parts, ("more, because memory ran out once", device + host)),
        added_bytes=device,
        added_host_bytes=host,
    )
