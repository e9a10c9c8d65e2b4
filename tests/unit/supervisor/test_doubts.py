"""What a configuration says of memory that cannot be meant on the machine it runs on."""

import pytest

from llama_swap.config import PortBook, load_config
from llama_swap.scheduler.events import MemoryMeasured
from llama_swap.scheduler.memory import HOST, PoolReading
from llama_swap.supervisor.doubts import Doubts
from llama_swap.testing import RecordingObserver

GIB = 1 << 30
HOST_POOL = PoolReading(HOST, "RAM", None, 64 * GIB, 40 * GIB)
CARDS = (PoolReading("GPU-aaaa", "GPU 0 (A)", 0, 24 * GIB, 1), PoolReading("GPU-bbbb", "GPU 1 (B)", 1, 12 * GIB, 1))
FIT = "routing: {router: {use: fit, settings: {fit: {%s}}}}\n"


@pytest.fixture
def told(tmp_path):
    """``told(yaml)``: the doubts about this configuration on a machine with two cards, or the pools that are given."""
    observer = RecordingObserver()
    doubts = Doubts(observer)

    def told(text, pools=(*CARDS, HOST_POOL), problem=""):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        config = load_config([path], env={}, ports=PortBook(lambda _port: True))
        observer.notices.clear()
        doubts.weigh(config, MemoryMeasured(0.0, tuple(pools), has_devices=True, problem=problem))
        return observer.notices

    return told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FIT % "", []),
        ("yield: {freeBelow: 11GiB}", []),
        (
            "yield: {freeBelow: 12GiB}",
            ["GPU 1 (B) has 12.0 GiB, and 12.0 GiB are to stay free (yield.freeBelow): no model can use it"],
        ),
        (
            FIT % "headroom: 30GiB",
            [
                "GPU 0 (A) has 24.0 GiB, and 30.0 GiB are to stay free (headroom): no model can use it",
                "GPU 1 (B) has 12.0 GiB, and 30.0 GiB are to stay free (headroom): no model can use it",
            ],
        ),
        (
            FIT % "hostHeadroom: 64GiB",
            ["RAM has 64.0 GiB, and 64.0 GiB are to stay free (hostHeadroom): no model can use it"],
        ),
        ("routing: {router: {use: group}}\nyield: {freeBelow: 12GiB}", []),
    ],
)
def test_too_much_to_stay_free(told, text, expected):
    """A device that no model can use; groups use it whatever is free."""
    assert told(text) == [("", line) for line in expected]


@pytest.mark.parametrize(
    ("vram", "missing"),
    [
        ("{0: 1GiB, 1: 1GiB}", ""),
        ("{GPU-bbbb: 1GiB}", ""),
        ("1GiB", ""),
        ("{7: 1GiB}", "7"),
        ("{0: 1GiB, 3: 1GiB, GPU-bbbbb: 1GiB}", "3, GPU-bbbbb"),
    ],
)
def test_devices_that_are_not_there(told, vram, missing):
    """The model runs, but not where its owner thinks."""
    notices = told(f"models: {{m: {{cmd: 'srv --port ${{PORT}}', vram: {vram}}}}}")
    expected = (
        f"vram names device {missing}, and there is 0, 1: only the sum counts, and the model is put where there is room"
    )
    assert notices == ([("m", expected)] if missing else [])


def test_each_is_said_once(told):
    """Not with every reading, but again when it was mended meanwhile."""
    wrong, right = "yield: {freeBelow: 12GiB}", "yield: {freeBelow: 1GiB}"
    assert [len(told(text)) for text in (wrong, wrong, right, wrong)] == [1, 0, 0, 1]


def test_a_machine_that_is_not_known(told):
    """While the driver does not answer, and where there is no device, nothing is missing."""
    wrong = "models: {m: {cmd: 'srv --port ${PORT}', vram: {7: 1GiB}}}"
    assert told(wrong, problem="no driver") == []
    assert told(wrong, pools=[HOST_POOL]) == []
    assert told("yield: {freeBelow: 1GiB}", pools=[PoolReading("gpu0", "GPU 0", 0, 0, 0)])
