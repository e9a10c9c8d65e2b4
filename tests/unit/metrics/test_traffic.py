"""What requests add to the metrics, gathered and added up."""

from llama_swap.activity import Usage
from llama_swap.metrics import Metrics
from llama_swap.metrics.traffic import _MOST_GATHERED

REQUESTS = 3 * _MOST_GATHERED + 7


def test_many_requests_are_counted_one_by_one(page):
    """However many come between two looks, each counts once, under its model and its outcome."""
    metrics = Metrics(["a", "b"])
    for number in range(REQUESTS):
        outcome = "ok" if number % 3 else "refused"
        metrics.observe_request("ab"[number % 2], outcome, seconds=1.0, queue_seconds=0.5, load_seconds=None)
        metrics.observe_answer("ab"[number % 2], Usage(2, 3), first_token_seconds=0.25 if number % 2 else None)
    for _ in range(2):
        seen = page(metrics)
        by_model = [seen[f'llamaswap_request_duration_seconds_count{{model="{model}"}}'] for model in "ab"]
        assert (sum(by_model), by_model[0] - by_model[1]) == (REQUESTS, REQUESTS % 2)
        refused = [seen[f'llamaswap_requests_total{{model="{model}",outcome="refused"}}'] for model in "ab"]
        assert sum(refused) == -(-REQUESTS // 3)
        assert seen['llamaswap_queue_wait_seconds_sum{model="a"}'] == by_model[0] / 2
        assert 'llamaswap_load_wait_seconds_sum{model="a"}' not in seen
        assert seen['llamaswap_tokens_total{kind="generated",model="b"}'] == 3 * by_model[1]
        assert seen['llamaswap_time_to_first_token_seconds_sum{model="b"}'] == by_model[1] / 4
        assert 'llamaswap_time_to_first_token_seconds_sum{model="a"}' not in seen


def test_what_is_gathered_is_bounded():
    """Nobody may ever look."""
    metrics = Metrics(["a"])
    for _ in range(REQUESTS):
        metrics.observe_request("a", "ok", seconds=1.0)
        metrics.observe_answer("a", Usage())
        assert len(metrics._traffic._requests) + len(metrics._traffic._answers) < 2 * _MOST_GATHERED


def test_requests_count_under_the_names_of_their_time(page):
    """A model that a reload brings has no part in what its name was asked for before."""
    metrics = Metrics(["a"])
    metrics.observe_request("new", "refused", seconds=1.0)
    metrics.keep_models(["a", "new"])
    metrics.observe_request("new", "ok", seconds=1.0)
    seen = page(metrics)
    assert seen['llamaswap_requests_total{model="",outcome="refused"}'] == 1
    assert seen['llamaswap_requests_total{model="new",outcome="ok"}'] == 1
