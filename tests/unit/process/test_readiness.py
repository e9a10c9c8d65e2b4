"""How often a child is asked; that it is asked at all is tested with real ones."""

from hypothesis import given
from hypothesis import strategies as st

from llama_swap.process.readiness import SPACING_SECONDS, fallback_seconds


@given(st.floats(0, 1e6))
def test_a_silent_child_is_asked_every_20_to_100_ms(elapsed):
    """Less often the longer it loads, so that a load of minutes costs little."""
    assert SPACING_SECONDS < 0.02 <= fallback_seconds(elapsed) <= 0.1
    assert fallback_seconds(elapsed) <= fallback_seconds(elapsed + 1)


def test_a_fast_load_is_noticed_fast():
    """The first ten seconds are asked at 20 ms."""
    assert fallback_seconds(9.9) == 0.02
    assert fallback_seconds(60) == 0.1
