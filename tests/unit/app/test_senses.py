"""What the service knows about memory by, as the configuration says."""

import pytest
from structlog.testing import capture_logs

from llama_swap.app.senses import keep, needs_restart, senses_of
from llama_swap.config import PortBook, load_config
from llama_swap.footprint.learned import LearnedStore, RunFigures
from llama_swap.gpu import Device, DeviceWatch
from llama_swap.gpu.fake import FakeDevices

CARD = Device(0, "card", uuid="GPU-0", vendor="NVIDIA", total_bytes=10, free_bytes=4, used_bytes=6, processes=())


@pytest.fixture
def configured(tmp_path):
    """``configured(fit)`` is a configuration with these settings of ``fit``."""

    def load(fit="{}"):
        path = tmp_path / "config.yaml"
        path.write_text(f"routing: {{router: {{use: fit, settings: {{fit: {fit}}}}}}}")
        return load_config([path], env={"HOME": str(tmp_path)}, ports=PortBook())

    return load


async def test_everything_is_there(configured):
    """One watch over the devices for all; those that children cannot see are no place for models."""
    watch = DeviceWatch(FakeDevices([CARD]))
    senses = senses_of(configured(), watch, LearnedStore(), {"CUDA_VISIBLE_DEVICES": "GPU-1"})
    reading = await senses.memory.read({})
    assert reading.devices == (CARD,)
    assert reading.host.total_bytes > 0
    assert not senses.sees(CARD)
    watch.close()


def test_figures_of_earlier_lives_that_cannot_be_used_are_told(configured, tmp_path):
    """Once, as a warning; they begin anew."""
    path = tmp_path / "footprints.json"
    path.write_text("no JSON")
    figures = LearnedStore.open(path)
    with capture_logs() as lines:
        senses_of(configured(), DeviceWatch(FakeDevices()), figures, {})
    assert [line["log_level"] for line in lines if "begin anew" in line["event"]] == ["warning"]


def test_what_was_learned_last_is_kept(tmp_path):
    """At the end of the service; a disk that is full is no reason not to end."""
    path = tmp_path / "footprints.json"
    figures = LearnedStore.open(path)
    figures.record("qwen", RunFigures({"GPU-0": 5}))
    keep(figures)
    assert LearnedStore.open(path).lookup("qwen").peaks
    figures = LearnedStore.open(tmp_path / "footprints.json" / "below a file")
    figures.record("qwen", RunFigures({"GPU-0": 5}))
    keep(figures)


@pytest.mark.parametrize(
    ("fit", "keys"),
    [
        ("{}", []),
        ("{headroom: 1GiB}", []),
        ("{learned: /elsewhere}", ["routing.router.settings.fit.learned"]),
        ("{askLlamaCpp: false}", ["routing.router.settings.fit.askLlamaCpp"]),
    ],
)
def test_what_a_reload_cannot_change(configured, fit, keys):
    """It is said, so that nobody waits for it."""
    assert needs_restart(configured(), configured(fit)) == keys
