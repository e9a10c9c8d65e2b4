"""The scheduler against strict first-in-first-out swapping, on modelled days of traffic."""

import pytest

SHARED = "agents on a, chat on b, embeddings on c"
BUSY = "a is never idle, b now and then"
TURNS = "three models in turn, request by request"
IMPATIENT = "impatient clients"

SWAP_SECONDS = 21  # the longest load and a stop
LONGEST_REQUEST_SECONDS = 22.5


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("workload", [SHARED, BUSY, TURNS, IMPATIENT])
def test_fewer_starts_than_first_in_first_out(simulate, workload, seed):
    """Requests of one model are served together, so a served request costs fewer loads."""
    naive, ours = simulate("naive", workload, seed=seed), simulate("ours", workload, seed=seed)
    assert ours.start_count / len(ours.all_waits()) < naive.start_count / len(naive.all_waits())


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("workload", [SHARED, BUSY, TURNS])
def test_waits_are_shorter(simulate, workload, seed):
    """The slow tenth and the unluckiest client gain."""
    naive, ours = simulate("naive", workload, seed=seed), simulate("ours", workload, seed=seed)
    assert ours.percentile(0.9) < naive.percentile(0.9)
    assert ours.worst < naive.worst


@pytest.mark.parametrize("seed", range(5))
def test_traffic_without_a_gap_starves_nobody(simulate, seed):
    """A wait is at most: the maximum wait, the requests in service, two swaps and the service of one model between."""
    worst = simulate("ours", BUSY, seed=seed).worst
    assert worst <= 10 + 2 * (LONGEST_REQUEST_SECONDS + SWAP_SECONDS)


def test_without_a_maximum_wait_it_would_starve(simulate):
    """The bound is what does it: llama-swap's rule lets b wait until a's clients are gone."""
    assert simulate("ours", BUSY, max_wait_seconds=0.0).worst > 3000


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_saturation_is_a_matter_of_batches(simulate, seed):
    """Three models in strict turn: the queue does not grow with the length of the day."""
    naive, ours = simulate("naive", TURNS, seed=seed), simulate("ours", TURNS, seed=seed)
    assert ours.percentile(0.5) < naive.percentile(0.5) / 20
    assert ours.seconds < naive.seconds / 4
    assert ours.fairness > 0.95


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_impatient_clients_are_lost_less_often(simulate, seed):
    """Who leaves causes no load, and fewer have reason to leave."""
    naive, ours = simulate("naive", IMPATIENT, seed=seed), simulate("ours", IMPATIENT, seed=seed)
    assert ours.lost < naive.lost / 2


def test_a_longer_maximum_wait_trades_waiting_for_loads(simulate):
    """The knob does what it says."""
    short, long = (simulate("ours", BUSY, max_wait_seconds=seconds) for seconds in (10.0, 60.0))
    assert long.start_count < short.start_count
    assert long.worst > short.worst
