"""The devices of all makers in one list."""

from dataclasses import replace

from llama_swap.gpu.devices import DeviceSnapshot, ReadsDevices


class AllDevices:
    """Asks several readers, and numbers what they find.

    Args:
        readers: in the order of the list.
    """

    def __init__(self, *readers: ReadsDevices) -> None:
        self._readers = readers

    def read(self) -> DeviceSnapshot:
        """Every device; a maker of which there is none is a problem only where there is nothing else either."""
        snapshots = [reader.read() for reader in self._readers]
        found = [device for snapshot in snapshots for device in snapshot.devices]
        problems = [snapshot.problem for snapshot in snapshots if snapshot.problem]
        return DeviceSnapshot(
            at=min(snapshot.at for snapshot in snapshots),
            devices=tuple(replace(device, index=index) for index, device in enumerate(found)),
            problem="" if found else "; ".join(problems),
        )

    def close(self) -> None:
        """Let go of all drivers."""
        for reader in self._readers:
            reader.close()
