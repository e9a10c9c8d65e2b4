"""The fuzz target: what it has found stays mended, and a minute of it finds nothing new."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from harness import DisagreementError
from target import Fuzzer

from llama_swap.proxy import front_connection

FOLDER = Path(__file__).parent
CORPUS = sorted((FOLDER / "corpus").iterdir())
FUZZ_SECONDS = 60


@pytest.fixture
def fuzzer():
    """A fuzzer without libFuzzer."""
    running = Fuzzer()
    yield running
    running.close()


def feed_all(fuzzer):
    """Feed the whole corpus; an error names its input."""
    for path in CORPUS:
        try:
            fuzzer.feed(path.read_bytes())
        except Exception as error:
            error.add_note(f"by {path}")
            raise


def test_corpus(fuzzer):
    """Every input that was interesting once passes."""
    assert len(CORPUS) > 100
    feed_all(fuzzer)


def test_target_sees_a_defect(fuzzer, monkeypatch):
    """Without our objections to requests that every aiohttp takes, the corpus shows readings that differ."""
    monkeypatch.setattr(front_connection, "objection", lambda _request: None)
    with pytest.raises(DisagreementError):
        feed_all(fuzzer)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
def test_a_minute_of_fuzzing(tmp_path):
    """Coverage-guided; an input that shows a defect is printed, and belongs into the corpus."""
    corpus = tmp_path / "corpus"
    shutil.copytree(FOLDER / "corpus", corpus)
    options = [
        f"-max_total_time={FUZZ_SECONDS}",
        "-timeout=20",
        "-print_final_stats=1",
        f"-artifact_prefix={tmp_path}/",
    ]
    done = subprocess.run(
        [sys.executable, FOLDER / "target.py", *options, corpus],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=FUZZ_SECONDS * 5,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert "Done " in done.stderr
