"""The series of a moment: the scheduler, the machine, the devices, the memory of models."""

from dataclasses import replace

from llama_swap.gpu import Device
from llama_swap.metrics import ModelMemory
from llama_swap.scheduler.snapshot import YieldView

GIB = 1024**3


def test_llama_swap_s_names_and_labels(metrics, page, sample, card):
    """A dashboard made for llama-swap finds its series here."""
    metrics.observe_host(sample, [card])
    seen = page(metrics)
    assert seen['llamaswap_cpu_util_percent{core="1"}'] == 99
    assert seen["llamaswap_memory_total_bytes"] == sample.total_bytes
    assert seen["llamaswap_memory_used_bytes"] == sample.used_bytes
    assert seen["llamaswap_memory_free_bytes"] == sample.free_bytes
    assert seen["llamaswap_swap_total_bytes"] == sample.swap_total_bytes
    assert seen["llamaswap_swap_used_bytes"] == sample.swap_used_bytes
    assert [seen[f'llamaswap_load_average{{interval="{i}"}}'] for i in ("1m", "5m", "15m")] == [1.0, 0.5, 0.25]
    assert seen['llamaswap_network_bytes_total{direction="recv",interface="eth0"}'] == 1000
    assert seen['llamaswap_network_bytes_total{direction="sent",interface="eth0"}'] == 2000
    device = 'id="0",name="Card "one"",uuid="GPU-1"'
    values = {
        "temperature_celsius": 40,
        "vram_temperature_celsius": 50,
        "util_percent": 70,
        "memory_util_percent": 25,
        "memory_used_bytes": card.used_bytes,
        "memory_total_bytes": card.total_bytes,
        "fan_speed_percent": 30,
        "power_draw_watts": 250.5,
    }
    assert {name: seen[f"llamaswap_gpu_{name}{{{device}}}"] for name in values} == values


def test_what_a_device_does_not_tell_has_no_sample(metrics, page, sample):
    """Zero would be a lie that an alert believes."""
    metrics.observe_host(sample, [Device(0, "bare")])
    assert not [series for series in page(metrics).values if series.startswith("llamaswap_gpu")]


def test_a_device_that_is_gone_has_no_series(metrics, page, sample, card):
    """Nothing of an earlier sample stays behind; with sampling switched off nothing of the machine does."""
    metrics.observe_host(sample, [card, replace(card, index=1, uuid="GPU-2")], {"a": ModelMemory(1)})
    metrics.observe_host(sample, [card])
    seen = page(metrics)
    assert not [series for series in seen.values if "GPU-2" in series or "llamaswap_model_memory" in series]
    metrics.observe_host(None)
    assert "llamaswap_memory_total_bytes" not in page(metrics)


def test_states_queue_and_service(world, metrics, page):
    """One state of a model is 1 and all others are 0; who is served and who waits is counted by model."""
    world.arrives(1, "a")
    world.ready("a")
    world.arrives(2, "b", at=1)
    world.arrives(3, "b", at=2)
    metrics.observe_snapshot(world.scheduler.snapshot(now=5.0))
    seen = page(metrics)
    states = {
        model: [
            series.split('state="')[1].split('"')[0]
            for series, value in seen.values.items()
            if series.startswith(f'llamaswap_instance_state{{model="{model}"') and value
        ]
        for model in ("a", "b")
    }
    assert states == {"a": ["ready"], "b": ["stopped"]}
    assert seen['llamaswap_requests_in_service{model="a"}'] == 1
    assert seen['llamaswap_queue_length{model="b"}'] == 2
    assert seen['llamaswap_queue_length{model="a"}'] == 0
    assert seen["llamaswap_oldest_waiter_age_seconds"] == 4


def test_memory_by_model(metrics, page, sample):
    """RAM always, device memory where the device knows."""
    metrics.observe_host(sample, [], {"a": ModelMemory(100, {0: 7, 1: 0}), "b": ModelMemory(50)})
    seen = page(metrics)
    assert seen['llamaswap_model_memory_resident_bytes{model="a"}'] == 100
    assert seen['llamaswap_model_memory_resident_bytes{model="b"}'] == 50
    assert seen['llamaswap_model_gpu_memory_bytes{id="0",model="a"}'] == 7
    assert seen['llamaswap_model_gpu_memory_bytes{id="1",model="a"}'] == 0
    assert not [series for series in seen.values if "gpu_memory" in series and 'model="b"' in series]


def test_memory_as_the_scheduler_sees_it(full, page):
    """By pool and by model; the machine is "host", a device has the number that it has elsewhere."""
    seen = page(full)
    assert seen['llamaswap_pool_total_bytes{pool="host"}'] == 64 * GIB
    assert seen['llamaswap_pool_free_bytes{pool="0"}'] == 60 * GIB
    assert seen['llamaswap_pool_promised_bytes{pool="0"}'] == 10 * GIB
    assert seen['llamaswap_pool_available_bytes{pool="0"}'] == 59 * GIB
    assert seen['llamaswap_pool_foreign_bytes{pool="host"}'] == 24 * GIB
    assert 'llamaswap_pool_foreign_bytes{pool="0"}' not in seen, "unknown is not nothing"
    assert seen['llamaswap_model_claim_bytes{model="a",pool="0"}'] == 10 * GIB


def test_yields_are_counted(world, metrics, page):
    """Without their names, which people make up."""
    snapshot = world.scheduler.snapshot(now=1.0)
    metrics.observe_snapshot(replace(snapshot, yields=(YieldView("desk", (), None, "a game"),)))
    assert page(metrics)["llamaswap_yields"] == 1
    assert "llamaswap_pool_total_bytes" not in page(metrics)
