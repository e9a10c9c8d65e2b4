"""The modelled machine: cards with memory that is given out and comes back late, and a disk with a page cache.

All sizes are GiB and all times seconds. The figures are those of a desk with an NVMe disk: a file that is in the page
cache reaches the card several times as fast as one that has to be read.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

GIB = 1 << 30


@dataclass(frozen=True)
class Model:
    """What is true of a model, whatever its configuration says.

    Attributes:
        weights: the size of its file, all of it put on the cards.
        rest: its cache of keys and values, and the buffers for computing.
        error: by which share the declared need is off: -0.1 is declared a tenth too small; None is not known at all.
        load_seconds: instead of what its size takes.
    """

    weights: float = 0.0
    rest: float = 0.0
    error: float | None = 0.0
    load_seconds: float | None = None
    priority: int = 0
    pin: bool = False
    ttl_seconds: float = 0.0

    @property
    def need(self):
        """What it takes on one card, without the context of the driver."""
        return self.weights + self.rest


@dataclass(frozen=True)
class Machine:
    """The hardware.

    Attributes:
        cards: the memory of each.
        reserved: what the driver keeps of each card for itself.
        context: what each process costs on each card that it sees.
        lag: between these seconds after an exit the memory is free.
        spare: memory of the host that may be page cache.
        disk, bus: GiB a second from the disk, and from the page cache to the cards.
    """

    cards: tuple[float, ...] = ()
    reserved: float = 0.4
    context: float = 0.4
    lag: tuple[float, float] = (0.3, 1.5)
    spare: float = 48.0
    disk: float = 2.0
    bus: float = 8.0
    launch_seconds: float = 1.0
    stop_seconds: float = 1.0


class OutOfMemory(Exception):  # noqa: N818 - what it is called everywhere
    """A card has not as much left."""


@dataclass
class Cards:
    """Who has how much of which card: holder -> GiB by card; a holder is a process or a foreign program."""

    machine: Machine
    held: dict = field(default_factory=dict)

    def free(self, card):
        """What the driver would give out now."""
        used = sum(by_card.get(card, 0.0) for by_card in self.held.values())
        return self.machine.cards[card] - self.machine.reserved - used

    def take(self, holder, sizes):
        """Give memory out, all of it or nothing.

        Raises:
            OutOfMemory: one of the cards has not as much left.
        """
        if any(size > self.free(card) for card, size in sizes.items()):
            raise OutOfMemory
        mine = self.held.setdefault(holder, {})
        for card, size in sizes.items():
            mine[card] = mine.get(card, 0.0) + size

    def give_back(self, holder):
        """Take everything from a holder."""
        self.held.pop(holder, None)

    def split(self, size, cards):
        """Divide a size over cards in proportion to what is free, as llama.cpp does; the context comes on top."""
        free = {card: max(0.0, self.free(card) - self.machine.context) for card in cards}
        total = sum(free.values()) or 1.0
        return {card: size * share / total for card, share in free.items()}


@dataclass
class PageCache:
    """Which files the kernel keeps in memory: those read last, as far as the memory goes."""

    machine: Machine
    cached: OrderedDict = field(default_factory=OrderedDict)  # model -> GiB of its file
    reading: dict = field(default_factory=dict)  # model -> when reading ahead began

    def read_ahead(self, name, now):
        """Begin to read a file before it is needed."""
        self.reading.setdefault(name, now)

    def load_seconds(self, name, size, now):
        """How long it takes to bring a file to the card from now on; it is in the page cache after that."""
        began = self.reading.pop(name, now)
        there = min(size, self.cached.get(name, 0.0) + (now - began) * self.machine.disk)
        self.keep(name, size)
        return there / self.machine.bus + (size - there) / self.machine.disk

    def keep(self, name, size):
        """A file was read in full."""
        self.cached[name] = size
        self.cached.move_to_end(name)
        while len(self.cached) > 1 and sum(self.cached.values()) > self.machine.spare:
            self.cached.popitem(last=False)
