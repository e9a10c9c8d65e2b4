"""Figures of earlier runs: how they are merged, and that they outlive everything."""

import itertools
import json
import os
import stat
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.footprint import learned
from llama_swap.footprint.learned import MAX_ENTRIES, AskedDevice, Learned, LearnedStore, RunFigures

GIB = 1 << 30


@pytest.fixture
def path(tmp_path):
    """Where the store keeps its file; the folder is not there yet."""
    return tmp_path / "state" / "footprints.json"


def test_nothing_is_known_of_a_stranger():
    """An entry without anything in it."""
    assert LearnedStore().lookup("x") == Learned()
    assert not Learned().has_run


def test_peaks_grow_only():
    """The most that was ever held, by the number of devices."""
    store = LearnedStore()
    store.record("x", RunFigures({"A": 5}, host_bytes=7))
    store.record("x", RunFigures({"A": 3}, host_bytes=9))
    store.record("x", RunFigures({"A": 2, "B": 2}))
    found = store.lookup("x")
    assert {count: peak.total_bytes for count, peak in found.peaks.items()} == {"1": 5, "2": 4}
    assert found.peaks["1"].by_device == {"A": 5}
    assert found.host_bytes == 9


def test_another_device_takes_the_place_of_the_last_one():
    """The sum is a maximum; the division is that of the last run."""
    store = LearnedStore()
    store.record("x", RunFigures({"A": 5}))
    store.record("x", RunFigures({"B": 4}))
    assert store.lookup("x").peaks["1"] == learned.Peak(5, {"B": 4})


def test_devices_that_it_does_not_hold_do_not_count():
    """Nothing on a device is no placement there."""
    store = LearnedStore()
    store.record("x", RunFigures({"A": 5, "B": 0}))
    assert store.lookup("x").peaks.keys() == {"1"}


def test_load_times_are_averaged():
    """Newer ones count more; those of files that were read ahead are apart."""
    store = LearnedStore()
    store.record("x", RunFigures(load_seconds=10.0))
    store.record("x", RunFigures(load_seconds=20.0))
    store.record("x", RunFigures(load_seconds=2.0, read_ahead=True))
    found = store.lookup("x")
    assert found.cold_seconds == pytest.approx(13.0)
    assert found.ahead_seconds == 2.0
    assert found.load_seconds == pytest.approx(13.0)


def test_a_load_that_was_read_ahead_is_better_than_nothing():
    """Where it never loaded without."""
    store = LearnedStore()
    store.record("x", RunFigures(load_seconds=2.0, read_ahead=True))
    assert store.lookup("x").load_seconds == 2.0


def test_a_floor_is_raised_and_slowly_forgotten():
    """A start that succeeds shows that less would do."""
    store = LearnedStore()
    store.record("x", RunFigures({"A": 8 * GIB}, host_bytes=GIB))
    store.raise_("x", 12 * GIB, 2 * GIB)
    store.raise_("x", 10 * GIB)
    assert store.lookup("x").floor_bytes == 12 * GIB
    store.record("x", RunFigures({"A": 8 * GIB}, host_bytes=GIB))
    assert store.lookup("x").floor_bytes == 12 * GIB
    store.record("x", RunFigures({"A": 8 * GIB}, host_bytes=GIB, load_seconds=1.0))
    assert store.lookup("x").floor_bytes == 10 * GIB
    assert store.lookup("x").floor_host_bytes == GIB + GIB // 2


def test_a_floor_does_not_grow_without_end():
    """Failure after failure for another reason must not make a model too large for every machine."""
    store = LearnedStore()
    store.record("x", RunFigures({"A": 10}))
    for size in (12, 15, 100, 1000):
        store.raise_("x", size)
    assert store.lookup("x").floor_bytes == 40


def test_what_llama_cpp_said_is_kept(path):
    """So that it is asked once."""
    asked = (AskedDevice("CUDA0", 1, 2, 3), AskedDevice("Host", 4, 5, 6))
    store = LearnedStore.open(path)
    store.remember_asked("x", asked)
    store.save()
    assert LearnedStore.open(path).lookup("x").asked == asked
    assert not LearnedStore.open(path).lookup("x").has_run


def test_figures_outlive_the_service(path):
    """All of them, in a folder that is made for them."""
    store = LearnedStore.open(path, clock=lambda: 5.0)
    store.record("x", RunFigures({"A": 5}, 6, 7.0))
    store.raise_("x", 8, 9)
    store.save()
    again = LearnedStore.open(path)
    assert again.lookup("x") == store.lookup("x")
    assert again.problem == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["footprints.json"]


def test_nothing_new_is_not_written(path):
    """A run as the last one is no reason to write."""
    store = LearnedStore.open(path)
    store.save()
    assert not path.exists()
    store.record("x", RunFigures({"A": 5}))
    store.save()
    path.unlink()
    store.record("x", RunFigures({"A": 5}))
    store.save()
    assert not path.exists()


def test_without_a_path_all_is_kept_in_memory():
    """``learned: ""``."""
    store = LearnedStore.open(None)
    store.record("x", RunFigures({"A": 5}))
    store.save()
    assert store.lookup("x").peaks["1"].total_bytes == 5


_ENTRY = {"seen": 1.0, "peaks": {}, "host_bytes": 0, "floor_bytes": 0, "floor_host_bytes": 0}


@pytest.mark.parametrize(
    "contents",
    [
        "",
        "{",
        "[]",
        '{"version": 1}',
        json.dumps({"version": 2, "entries": {}}),
        json.dumps({"version": 1, "entries": {"x": {**_ENTRY, "host_bytes": -1}}}),
        json.dumps({"version": 1, "entries": {"x": {**_ENTRY, "host_bytes": 1 << 62}}}),
        json.dumps({"version": 1, "entries": {"x": {**_ENTRY, "host_bytes": "much"}}}),
        json.dumps({"version": 1, "entries": {"x": {**_ENTRY, "peaks": {"1": 5}}}}),
    ],
)
def test_a_damaged_file_is_put_aside(path, contents):
    """Nothing of it is believed, nothing of it is lost."""
    path.parent.mkdir()
    path.write_text(contents)
    store = LearnedStore.open(path)
    assert "footprints.json.damaged" in store.problem
    assert path.with_name("footprints.json.damaged").read_text() == contents
    store.record("x", RunFigures({"A": 5}))
    store.save()
    assert LearnedStore.open(path).lookup("x").peaks["1"].total_bytes == 5


def test_a_file_of_any_size_is_not_read(path, monkeypatch):
    """It is put aside as it is."""
    monkeypatch.setattr(learned, "MAX_FILE_BYTES", 10)
    path.parent.mkdir()
    path.write_bytes(b"x" * 11)
    assert "more than" in LearnedStore.open(path).problem


def test_a_file_that_cannot_be_read_is_left_alone(path):
    """Figures are then kept in memory only."""
    path.mkdir(parents=True)
    store = LearnedStore.open(path)
    assert "Is a directory" in store.problem
    store.record("x", RunFigures({"A": 5}))
    store.save()
    assert path.is_dir()


def test_a_write_that_fails_is_tried_again(tmp_path):
    """And leaves nothing behind."""
    folder = tmp_path / "state"
    folder.write_text("a file in the way")
    store = LearnedStore(folder / "f.json")
    store.record("x", RunFigures({"A": 5}))
    with pytest.raises(OSError, match="exists"):
        store.save()
    folder.unlink()
    store.save()
    assert LearnedStore.open(folder / "f.json").lookup("x").has_run


def test_a_write_that_breaks_off_leaves_the_old_file(path, monkeypatch):
    """As after a crash."""
    store = LearnedStore.open(path)
    store.record("x", RunFigures({"A": 5}))
    store.save()
    before = path.read_bytes()
    store.record("x", RunFigures({"A": 6}))

    def fail(_descriptor):
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        store.save()
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["footprints.json"]


def test_two_services_with_one_file(path):
    """Neither loses what the other has learned, and of a model that both ran the later figures count."""
    now = itertools.count()
    one, other = (LearnedStore.open(path, clock=lambda: float(next(now))) for _ in range(2))
    one.record("a", RunFigures({"A": 5}))
    one.record("both", RunFigures({"A": 1}))
    one.save()
    other.record("b", RunFigures({"A": 7}))
    other.record("both", RunFigures({"A": 2}))
    other.save()
    one.record("a2", RunFigures({"A": 6}))
    one.save()
    for store in (one, LearnedStore.open(path)):
        assert {name: store.lookup(name).peaks["1"].total_bytes for name in ("a", "b", "a2", "both")} == {
            "a": 5,
            "b": 7,
            "a2": 6,
            "both": 2,
        }


def test_what_others_wrote_is_bounded_too(path, monkeypatch):
    """The newest of both stay."""
    monkeypatch.setattr(learned, "MAX_ENTRIES", 3)
    now = itertools.count()
    one, other = (LearnedStore.open(path, clock=lambda: float(next(now))) for _ in range(2))
    for store, names in ((one, "abc"), (other, "de")):
        for name in names:
            store.record(name, RunFigures({"A": 1}))
        store.save()
    kept = LearnedStore.open(path)
    assert [name for name in "abcde" if kept.lookup(name).has_run] == ["c", "d", "e"]


def test_a_file_that_somebody_damaged_meanwhile(path):
    """What is known here is written all the same."""
    store = LearnedStore.open(path)
    store.record("a", RunFigures({"A": 5}))
    store.save()
    path.write_text("{")
    store.record("b", RunFigures({"A": 5}))
    store.save()
    assert LearnedStore.open(path).lookup("a").has_run


def test_the_number_of_entries_is_bounded():
    """The one that was not seen for longest makes room."""
    now = iter(range(10**6))
    store = LearnedStore(clock=lambda: float(next(now)))
    for number in range(MAX_ENTRIES):
        store.record(f"m{number}", RunFigures({"A": 5}))
    store.record("m0", RunFigures({"A": 5}))
    store.record("new", RunFigures({"A": 5}))
    assert store.lookup("m0").has_run
    assert store.lookup("new").has_run
    assert not store.lookup("m1").has_run
    assert store.lookup("m2").has_run


def test_records_from_several_threads_are_all_kept():
    """While the file is being written, too."""
    store = LearnedStore()

    def work(number):
        for size in range(200):
            store.record(f"m{number}", RunFigures({"A": size + 1}))
            store.save()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.lookup(f"m{number}").peaks["1"].total_bytes for number in range(4)] == [200] * 4


_SIZES = st.integers(0, 1 << 40)
_FIGURES = st.builds(
    RunFigures,
    st.dictionaries(st.sampled_from("ABC"), _SIZES),
    _SIZES,
    st.none() | st.floats(0, 1e6),
    st.booleans(),
)


@given(st.lists(st.one_of(_FIGURES, st.tuples(_SIZES, _SIZES)), max_size=12))
def test_whatever_happens_it_can_be_read_again(tmp_path_factory, story):
    """And no peak is ever lower than what was seen."""
    path = tmp_path_factory.mktemp("learned") / "f.json"
    store = LearnedStore(path)
    most = 0
    for chapter in story:
        if isinstance(chapter, RunFigures):
            store.record("x", chapter)
            most = max(most, sum(chapter.by_device.values()))
        else:
            store.raise_("x", *chapter)
    store.save()
    found = LearnedStore.open(path).lookup("x")
    assert replace_seen(found) == replace_seen(store.lookup("x"))
    assert max((peak.total_bytes for peak in found.peaks.values()), default=0) == most


def replace_seen(entry):
    """An entry without its time, which is not written when nothing else is new."""
    return [getattr(entry, name) for name in Learned.__slots__ if name != "seen"]
