"""Which device a model gets, and how it is divided over several."""

import pytest
from cards import GIB, need

from llama_swap.scheduler.memory import HOST, Need, NeedSource
from llama_swap.scheduler.policy.rooms import Room, Wish, sites


def started_on(p, model):
    """The devices that the latest start names."""
    (start,) = [command for command in p.commands if command.model == model]
    return start.devices


def test_the_smallest_device_on_which_it_fits(play_fit):
    """Large ones are kept for large models."""
    p = play_fit({"a": 10, "b": 20}, gpus=[24, 12]).arrives(1, "a").expect("start a")
    assert started_on(p, "a") == ("GPU-1",)
    p.arrives(2, "b").expect("start b")
    assert started_on(p, "b") == ("GPU-0",)


def test_room_goes_before_size(play_fit):
    """A larger device without a victim rather than the smallest with one."""
    p = play_fit({"a": 10, "b": 10}, gpus=[24, 12]).runs("a").arrives(1, "b").expect("start b")
    assert started_on(p, "b") == ("GPU-0",)


def test_one_device_with_an_idle_victim_rather_than_two(play_fit):
    """A model on one device is faster, and does not stand in the way on both."""
    p = play_fit({"a": 10, "b": 20, "c": 14}, gpus=[24, 12], models={"b": {"evict_cost": 1.0}}).runs("a", "b")
    p.arrives(1, "c").expect("stop b")


def test_two_devices_rather_than_waiting_for_one_in_use(play_fit):
    """Nobody waits for a stream to end where there is room."""
    p = play_fit({"a": 14, "b": 14, "c": 16}, gpus=[24, 24]).runs("a", "b").arrives(1, "a").expect("grant 1")
    p.arrives(2, "b").expect("grant 2").arrives(3, "c").expect("start c")
    assert p.claims("c") == {"GPU-0": 8, "GPU-1": 8}


def test_a_model_larger_than_any_device_is_divided(play_fit):
    """In proportion to the room; no device is hidden from it where it needs them all."""
    p = play_fit({"a": 30}, gpus=[24, 12]).arrives(1, "a").expect("start a")
    assert started_on(p, "a") == ()
    assert p.claims("a") == {"GPU-0": 20, "GPU-1": 10}


def test_no_more_devices_than_it_takes(play_fit):
    """The third stays free."""
    p = play_fit({"a": 40}, gpus=[24, 24, 24]).arrives(1, "a").expect("start a")
    assert started_on(p, "a") == ("GPU-0", "GPU-1")


def test_each_further_device_costs(play_fit):
    """Context and buffers of the driver are there on each."""
    dear = need(46, per_device_bytes=4 * GIB)
    play_fit({"a": dear}, gpus=[24, 24]).arrives(1, "a").expect("reject 1 does_not_fit")


def test_a_declared_division_is_kept(play_fit):
    """To the byte, on those devices."""
    p = play_fit({"a": {"0": 10, "1": 8}, "b": 20}, gpus=[24, 12, 24]).arrives(1, "a").expect("start a")
    assert p.claims("a") == {"GPU-0": 10, "GPU-1": 8}
    assert started_on(p, "a") == ("GPU-0", "GPU-1")


def test_where_it_was_seen_counts_more_than_a_number(play_fit):
    """CUDA may count in another order than the driver: what a command calls 1 was seen to be 0."""
    learned = Need(NeedSource.LEARNED, device_bytes=10 * GIB, by_device={"GPU-0": 10 * GIB})
    p = play_fit({"a": learned, "b": 20}, gpus=[24, 12], models={"a": {"devices": ("1",)}, "b": {"devices": ("0",)}})
    p.runs("b").arrives(1, "a").expect("stop b")
    p.exits("b").expect("start a")
    assert p.claims("a") == {"GPU-0": 10}


def test_a_learned_division_counts_only_for_the_same_devices(play_fit):
    """On others it is the sum that was learned."""
    learned = Need(NeedSource.LEARNED, device_bytes=10 * GIB, by_device={"GPU-0": 10 * GIB})
    p = play_fit({"a": learned, "b": 20}, gpus=[24, 12], models={"b": {"devices": ("0",)}}).runs("b")
    p.arrives(1, "a").expect("start a")
    assert p.claims("a") == {"GPU-1": 10}


@pytest.mark.parametrize("named", [("0",), ("GPU-0",)])
def test_a_command_that_names_its_device_is_left_to_it(play_fit, named):
    """By number or UUID; nothing is said to the process."""
    p = play_fit({"a": 8, "b": 30}, gpus=[24, 12], models={"a": {"devices": named}}).arrives(1, "a").expect("start a")
    assert started_on(p, "a") == ()
    assert p.claims("a") == {"GPU-0": 8}
    p.arrives(2, "b")
    assert p.snapshot().queue[0].blocked_by == "a is loading"


def test_a_command_that_uses_all_devices_takes_of_all(play_fit):
    """A container sees every card."""
    p = play_fit({"a": 18}, gpus=[24, 12], models={"a": {"devices": ("*",)}}).arrives(1, "a").expect("start a")
    assert p.claims("a") == {"GPU-0": 12, "GPU-1": 6}


def test_a_device_without_memory_of_its_own_takes_from_the_host(play_fit):
    """Integrated GPUs are not among the pools."""
    p = play_fit({"a": 60, "b": 8}, host=64, models={"a": {"devices": ("7",)}}).runs("b")
    p.arrives(1, "a").expect("start a")
    assert p.claims("a") == {HOST: 60}


def test_a_machine_without_devices_counts_its_own_memory(play_fit):
    """Where memory is to decide and there is only one pool."""
    p = play_fit({"a": 40, "b": 30}, gpus=[], host=64).runs("a").arrives(1, "b").expect("stop a").exits("a")
    p.expect("start b")


def rooms(*available):
    """Devices with so much room, in any unit."""
    return {f"g{n}": Room(f"g{n}", f"GPU {n}", n, size, size) for n, size in enumerate(available)}


def test_parts_of_a_divided_card_are_not_shared():
    """A process sees one MIG instance only."""
    parts = {name: Room(name, name, n, 10, 10) for n, name in enumerate(("MIG-a", "MIG-b"))}
    for source in (NeedSource.ASKED, NeedSource.UNKNOWN):
        found = [site.devices for some in sites(Wish(Need(source, device_bytes=15)), parts) for site in some]
        assert found == [("MIG-a",), ("MIG-b",)]


@pytest.mark.parametrize("available", [(7, 5, 3), (1, 1, 1), (100, 0, 1), (10, -5, 6)])
def test_a_division_is_the_whole(available):
    """Rounding neither loses nor invents a byte, and nobody gets more than there is."""
    size = sum(max(0, part) for part in available) - 1
    (site,) = list(sites(Wish(Need(NeedSource.ASKED, device_bytes=size)), rooms(*available)))[-1]
    taken = site.taken(dict(zip(rooms(*available), available, strict=True)))
    assert sum(taken.values()) == size
    assert all(part <= max(0, room) for part, room in zip(taken.values(), available, strict=True))


@pytest.mark.parametrize(
    ("name", "is_it"), [("0", True), ("GPU-ab12", True), ("GPU-ab", True), ("1", False), ("GPU-c", False)]
)
def test_devices_are_named_as_cuda_takes_them(name, is_it):
    """By number, UUID or the beginning of one."""
    assert Room("GPU-ab12", "", 0, 1, 1).is_named(name) is is_it
