"""What a device says about itself, and about what it does not know."""

from llama_swap.gpu import Device, ProcessUse


def test_unknown_names_what_is_missing():
    """Every field without a value, so that a person can be told."""
    assert "free_bytes" in Device(0, "bare").unknown
    assert "free_bytes" not in Device(0, "full", free_bytes=0).unknown


def test_memory_of_a_process():
    """Known to have none is 0; not known is None."""
    device = Device(0, "card", processes=(ProcessUse(1, 7), ProcessUse(2, None)))
    assert [device.used_by(pid) for pid in (1, 2, 3)] == [7, None, 0]
    assert Device(0, "card").used_by(1) is None
