"""Tables, durations, and text made safe for a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.cli.text import duration, printable, remaining, size, table


def test_columns_are_aligned_and_empty_ones_left_out():
    """Each column is as wide as its widest cell; no line ends in spaces."""
    rows = [("a", "", "1"), ("long name", "", ""), ("b", "", "22")]
    assert table(("MODEL", "GONE", "N"), rows) == "MODEL      N\na          1\nlong name\nb          22\n"


@given(st.text(st.characters(exclude_categories=())))
def test_cells_cannot_steer_the_terminal(text):
    """Whatever a service sends stays one printable line."""
    assert printable(text).isprintable()
    assert len(table(("T",), [("x" + text,)]).splitlines()) == 2


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, ""),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m 0s"),
        (3599, "59m 59s"),
        (3600, "1h 0m"),
        (90_061, "25h 1m"),
        (float("inf"), ""),
    ],
)
def test_durations(seconds, expected):
    """Two units at most, rounded down; never is empty."""
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, ""), (0, "0"), (1024**2 * 512, "512 MiB"), (1024**3, "1.0 GiB"), (int(17.24 * 1024**3), "17.2 GiB")],
)
def test_size(count, text):
    """The unit is that of a GPU's memory."""
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0.0, "0s"), (0.2, "1s"), (59.1, "1m 0s"), (7199.4, "2h 0m"), (7199.0, "1h 59m")]
)
def test_what_is_left_is_rounded_up(seconds, text):
    """Of two hours there are two left when the answer comes."""
    assert remaining(seconds) == text
