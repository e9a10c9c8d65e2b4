"""A machine whose memory models take and give back, as the driver would report it; sizes in GiB."""

from llama_swap.scheduler.commands import StartProcess
from llama_swap.scheduler.events import MemoryMeasured
from llama_swap.scheduler.memory import HOST, Need, NeedSource, PoolReading

GIB = 2**30


def need(size, **keys):
    """A declared need: a number of GiB on devices, a mapping by device, None for unknown, or a Need."""
    if isinstance(size, Need):
        return size
    if size is None:
        return Need(NeedSource.UNKNOWN, **keys)
    if isinstance(size, dict):
        return Need(NeedSource.DECLARED, by_device={name: int(part * GIB) for name, part in size.items()}, **keys)
    return Need(NeedSource.DECLARED, device_bytes=int(size * GIB), **keys)


class Machine:
    """The memory of GPUs and of the host.

    Attributes:
        takes: model -> GiB that its process really takes, where that is not what it is said to need.
        foreign: GPU number -> GiB that others use.
        host_foreign: GiB that others use of the host.
        tells_who: the driver says which process has what.
        lists_others: and what those have that are not ours.
        problem: why the driver does not answer.
    """

    def __init__(self, gpus, host):
        self.gpus = list(gpus)
        self.host = host
        self.host_foreign = 0
        self.takes = {}
        self.host_takes = {}
        self.foreign = dict.fromkeys(range(len(self.gpus)), 0)
        self.held = {}  # instance -> {pool: bytes}
        self.latest = {}  # model -> instance
        self.lingering = []  # [(pool, bytes)] of dead processes
        self.slow = set()  # models whose memory comes back only when told
        self.tells_who = True
        self.lists_others = True
        self.problem = ""

    def free(self, number):
        """GiB that are free on a GPU."""
        return self._free(number) / GIB

    def _free(self, number):
        pool = f"GPU-{number}"
        ours = sum(held.get(pool, 0) for held in self.held.values())
        dead = sum(size for name, size in self.lingering if name == pool)
        return int((self.gpus[number] - self.foreign[number]) * GIB) - ours - dead

    def starts(self, command: StartProcess, wanted, named=None):
        """A process takes its memory: from the only device it sees, else where there is most room."""
        sees_all = named is None or "*" in named
        pools = list(command.devices) or [f"GPU-{n}" for n in range(len(self.gpus)) if sees_all or str(n) in named]
        size = self.takes.get(command.model)
        by_device = {f"GPU-{name}": size for name, size in wanted.by_device.items()} if size is None else {}
        size = wanted.device_bytes if size is None else int(size * GIB)
        held = dict(by_device)
        for pool in sorted(pools, key=lambda pool: -self._free(int(pool[4:]))) if size else ():
            part = min(size, max(0, self._free(int(pool[4:]))))
            held[pool] = held.get(pool, 0) + part
            size -= part
        if not pools:
            held[HOST], size = size, 0
        held[HOST] = held.get(HOST, 0) + int(self.host_takes.get(command.model, wanted.host_bytes / GIB) * GIB)
        self.held[command.instance_id] = held
        self.latest[command.model] = command.instance_id
        return size <= 0  # else it ran out of memory

    def takes_now(self, model, size, number=0):
        """A running process grows or shrinks to so many GiB of a GPU."""
        self.held[self.latest[model]][f"GPU-{number}"] = int(size * GIB)

    def exits(self, instance_id, model):
        """Its memory is free again, or lingers."""
        held = self.held.pop(instance_id, {})
        if model in self.slow:
            self.lingering += [(pool, size) for pool, size in held.items() if pool != HOST]

    def measured(self, at):
        """What a reading says."""
        if self.problem:
            return MemoryMeasured(at, (), problem=self.problem)
        pools = [self._host_reading(), *(self._reading(number) for number in range(len(self.gpus)))]
        return MemoryMeasured(at, tuple(pools), has_devices=bool(self.gpus))

    def _reading(self, number):
        pool, total, free = f"GPU-{number}", int(self.gpus[number] * GIB), self._free(number)
        held = {instance: sizes[pool] for instance, sizes in self.held.items() if sizes.get(pool)}
        foreign = total - free - sum(held.values())
        if not self.tells_who:
            return PoolReading(pool, f"GPU {number}", number, total, free)
        listed = int(self.foreign[number] * GIB) if self.lists_others else None
        return PoolReading(pool, f"GPU {number}", number, total, free, held, foreign_bytes=foreign, listed_bytes=listed)

    def _host_reading(self):
        held = {instance: sizes.get(HOST, 0) for instance, sizes in self.held.items()}
        foreign = int(self.host_foreign * GIB)
        free = int(self.host * GIB) - sum(held.values()) - foreign
        return PoolReading(HOST, "host memory", None, int(self.host * GIB), free, held, foreign_bytes=foreign)
