"""The metrics as a whole: what requests add, which labels there are, and what the page looks like."""

import threading

from llama_swap.activity import Usage
from llama_swap.metrics import Metrics


def test_requests_by_model_and_outcome(metrics, page):
    """Durations and waits are counted beside; a request without lease has no wait."""
    metrics.observe_request("a", "ok", seconds=2.0, queue_seconds=0.25, load_seconds=0.5)
    metrics.observe_request("a", "ok", seconds=1.0, queue_seconds=0.0, load_seconds=0.0)
    metrics.observe_request("a", "refused", seconds=0.1)
    seen = page(metrics)
    assert seen['llamaswap_requests_total{model="a",outcome="ok"}'] == 2
    assert seen['llamaswap_requests_total{model="a",outcome="refused"}'] == 1
    assert seen['llamaswap_request_duration_seconds_count{model="a"}'] == 3
    assert seen['llamaswap_queue_wait_seconds_count{model="a"}'] == 2
    assert seen['llamaswap_queue_wait_seconds_sum{model="a"}'] == 0.25
    assert seen['llamaswap_load_wait_seconds_sum{model="a"}'] == 0.5


def test_tokens_and_speeds(metrics, page):
    """Unknown (-1) is not counted, neither as tokens nor as a speed."""
    metrics.observe_answer("a", Usage(10, 20, -1, -1, -1, -1, 40.0))
    seen = page(metrics)
    assert seen['llamaswap_tokens_total{kind="prompt",model="a"}'] == 10
    assert seen['llamaswap_tokens_total{kind="generated",model="a"}'] == 20
    assert 'llamaswap_tokens_total{kind="cached",model="a"}' not in seen
    assert seen['llamaswap_generated_tokens_per_second_sum{model="a"}'] == 40
    assert 'llamaswap_prompt_tokens_per_second_count{model="a"}' not in seen
    assert 'llamaswap_time_to_first_token_seconds_count{model="a"}' not in seen


def test_names_that_clients_make_up_are_one_series(metrics, page):
    """Or anybody could fill the memory of Prometheus."""
    for number in range(100):
        metrics.observe_request(f"made-up-{number}", "refused", seconds=0.0)
    seen = page(metrics)
    assert seen['llamaswap_requests_total{model="",outcome="refused"}'] == 100
    assert not [series for series in seen.values if "made-up" in series]


def test_a_reload_drops_the_series_of_removed_models(full, page):
    """Those of the others keep their values, and the nameless one does."""
    full.observe_request("nobody", "refused", seconds=0.0)
    before = page(full)
    full.keep_models(["b"])
    seen = page(full)
    assert seen['llamaswap_starts_total{model="b"}'] == before['llamaswap_starts_total{model="b"}']
    assert seen['llamaswap_requests_total{model="",outcome="refused"}'] == 1
    counted = [series for series in seen.values if series.partition("{")[0].endswith(("_total", "_bucket"))]
    assert counted
    assert not [series for series in counted if 'model="a"' in series]


def test_grants_and_refusals(world, metrics, page):
    """A grant is the every-day case that its request counts; a refusal counts with its reason."""
    for request in range(1, 6):
        world.arrives(request, "a")
    assert page(metrics)['llamaswap_rejections_total{model="a",reason="queue_full"}'] == 2


def test_the_heartbeat_gets_older():
    """Its age is that of the moment of asking, and there is none before the first."""
    now = [100.0]
    metrics = Metrics(clock=lambda: now[0])
    name = b"\nllamaswap_scheduler_heartbeat_age_seconds "
    assert name not in metrics.render()
    metrics.observe_heartbeat()
    now[0] = 107.5
    assert name + b"7.5\n" in metrics.render()


def test_every_series_is_ours_and_has_a_meaning(full):
    """One prefix, a HELP line for each, units in names, and no series about the time of first use."""
    text = full.render().decode()
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert all(name.startswith("llamaswap_") for name in names)
    assert not [name for name in names if name.endswith("_created")]
    helps = {line.split()[2]: line for line in text.splitlines() if line.startswith("# HELP")}
    assert set(helps) == set(names)
    assert len(names) == len(set(names))


def test_labels_are_escaped(sample, card, page):
    """A quote, a backslash or a new line in a model's ID or a device's name does not break the page."""
    wild = 'a"b\\c\nd'
    metrics = Metrics([wild])
    metrics.observe_request(wild, "ok", seconds=1.0)
    metrics.observe_host(sample, [card])
    assert b'model="a\\"b\\\\c\\nd"' in metrics.render()
    assert page(metrics)[f'llamaswap_requests_total{{model="{wild}",outcome="ok"}}'] == 1
    assert page(metrics)['llamaswap_gpu_util_percent{id="0",name="Card "one"",uuid="GPU-1"}'] == 70


def test_the_page_can_be_written_in_a_thread(metrics, page):
    """Counting goes on meanwhile; nothing is lost and no dictionary changes under the writer."""
    failures = []
    done = threading.Event()

    def write():
        try:
            while not done.is_set():
                metrics.render()
        except RuntimeError as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    for number in range(3000):
        metrics.observe_request("a", f"outcome-{number}", seconds=1.0)
    done.set()
    writer.join()
    assert failures == []
    assert page(metrics)['llamaswap_request_duration_seconds_count{model="a"}'] == 3000
