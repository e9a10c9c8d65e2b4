"""Device memory of a family of processes."""

from llama_swap.gpu import Device, ProcessUse
from llama_swap.metrics.views import device_memory


def test_the_memory_of_a_family():
    """A sum for each device that knows its processes; 0 where the family has none; no figure where one is hidden."""
    devices = [
        Device(0, "both", processes=(ProcessUse(1, 10), ProcessUse(2, 5), ProcessUse(9, 100))),
        Device(1, "none", processes=(ProcessUse(9, 100),)),
        Device(2, "hidden", processes=(ProcessUse(1, None), ProcessUse(2, 5))),
        Device(3, "silent"),
    ]
    assert device_memory({1, 2}, devices) == {0: 15, 1: 0}
