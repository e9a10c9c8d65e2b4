"""Times as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.durations import LONGEST_SECONDS, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("2.5", 2.5),
        ("-1", -1),
        ("+3", 3),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5m", 30),
        ("300ms", 0.3),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("250\u03bcs", 0.00025),
        ("7ns", 7e-9),
        ("2d", 172800),
        ("-1m", -60),
        ("-1h30m", -5400),
        (" 10m ", 600),
    ],
)
def test_times(text, seconds):
    """Numbers are seconds; units add up; a sign counts for the whole."""
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "s",
            "5 m",
            "5x",
            "1h 30m",
            "--1",
            "1e3",
            "inf",
            "nan",
            "-",
            "m5",
            "5m-3s",
            "0x10",
            "\u0665m",
            "1_000",
        ),
        *("400000d0", "200000000000s", "115741d", "9" * 70, "1s" * 40),
    ],
)
def test_what_is_no_time(text):
    """Neither half a time nor one beyond all clocks."""
    with pytest.raises(ValueError, match="is not a time"):
        parse_duration(text)


@given(st.text(max_size=80))
def test_any_text_is_a_bounded_number_or_refused(text):
    """Whatever is written, nothing infinite comes out."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert abs(seconds) < LONGEST_SECONDS
