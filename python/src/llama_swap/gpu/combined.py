"""The devices of all makers in one list."""

from dataclasses import replace

from llama_swap.gpu.devices import Device, DeviceSnapshot, ReadsDevices

GONE = "no device answers any more"
"""A card that was given to a virtual machine is missing without an error of its driver."""


class AllDevices:
    """Asks several readers, and numbers what they find.

    Args:
        readers: in the order of the list.
    """

    def __init__(self, *readers: ReadsDevices) -> None:
        self._readers = readers
        self._counts = [0] * len(readers)

    def read(self) -> DeviceSnapshot:
        """Every device.

        A maker of which there is none is a problem only where there is nothing else either; one of which there was one
        is a problem in any case, and keeps its numbers.
        """
        snapshots = [reader.read() for reader in self._readers]
        found: list[Device] = []
        lost: list[str] = []
        first = 0
        for place, snapshot in enumerate(snapshots):
            if snapshot.devices:
                self._counts[place] = len(snapshot.devices)
            elif self._counts[place]:
                lost.append(snapshot.problem or GONE)
            found += [replace(device, index=first + index) for index, device in enumerate(snapshot.devices)]
            first += self._counts[place]
        missing = [] if found else [snapshot.problem for snapshot in snapshots if snapshot.problem]
        return DeviceSnapshot(
            at=min(snapshot.at for snapshot in snapshots),
            devices=tuple(found),
            problem="; ".join(lost or missing),
        )

    def close(self) -> None:
        """Let go of all drivers."""
        for reader in self._readers:
            reader.close()
