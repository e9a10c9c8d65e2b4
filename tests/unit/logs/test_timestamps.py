"""The named time layouts give what Go's time package gives."""

import time

import pytest

from llama_swap.logs.timestamps import TIME_FORMATS, render_time

# 2026-02-03 16:05:06.012345600 in New York (EST).
AT = 1_770_152_706_012_345_600


@pytest.fixture(autouse=True)
def new_york(monkeypatch):
    """A zone with a name and a negative offset."""
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ansic", "Tue Feb  3 16:05:06 2026"),
        ("unixdate", "Tue Feb  3 16:05:06 EST 2026"),
        ("rubydate", "Tue Feb 03 16:05:06 -0500 2026"),
        ("rfc822", "03 Feb 26 16:05 EST"),
        ("rfc822z", "03 Feb 26 16:05 -0500"),
        ("rfc850", "Tuesday, 03-Feb-26 16:05:06 EST"),
        ("rfc1123", "Tue, 03 Feb 2026 16:05:06 EST"),
        ("rfc1123z", "Tue, 03 Feb 2026 16:05:06 -0500"),
        ("rfc3339", "2026-02-03T16:05:06-05:00"),
        ("rfc3339nano", "2026-02-03T16:05:06.0123456-05:00"),
        ("kitchen", "4:05PM"),
        ("stamp", "Feb  3 16:05:06"),
        ("stampmilli", "Feb  3 16:05:06.012"),
        ("stampmicro", "Feb  3 16:05:06.012345"),
        ("stampnano", "Feb  3 16:05:06.012345600"),
    ],
)
def test_layout(name, expected):
    """Each layout of LS 1.2, in either case."""
    assert render_time(name, AT) == expected
    assert render_time(name.upper(), AT) == expected


def test_every_layout_is_tested():
    """The table above misses none."""
    assert len(TIME_FORMATS) == 15


def test_no_name_is_no_timestamp():
    """An empty or unknown name gives nothing, as in llama-swap."""
    assert render_time("", AT) == render_time("iso", AT) == ""


def test_whole_seconds_have_no_fraction_and_utc_is_z(monkeypatch):
    """``rfc3339nano`` leaves zeros out; an offset of zero is ``Z``."""
    monkeypatch.setenv("TZ", "UTC0")
    time.tzset()
    assert render_time("rfc3339nano", 1_770_152_706_000_000_000) == "2026-02-03T21:05:06Z"
    assert render_time("kitchen", 0) == "12:00AM"
    assert render_time("kitchen", 12 * 3600 * 10**9) == "12:00PM"
